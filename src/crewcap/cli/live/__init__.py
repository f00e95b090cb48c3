"""The screens of runs that are at work: one run, or all of them on a board."""
