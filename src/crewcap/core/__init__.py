"""Floor 0: rules and values. Standard library only; no clock, no input or output, no randomness."""
