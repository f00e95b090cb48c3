"""Where requests come in: doors, keys, paths, and the answers that are the gateway's own."""
