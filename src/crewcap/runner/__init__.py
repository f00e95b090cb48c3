"""Floor 3: the order of things in one run, through the seams' protocols only."""
