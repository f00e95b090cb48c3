"""Ways to the gateway without a run: alone, with a key, or around one program; and the provider that is a script."""
