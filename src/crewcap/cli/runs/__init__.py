"""Runs: starting one, looking at it, saying something to it."""
