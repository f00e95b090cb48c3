"""Many runs, unattended: the engine under them, who may start, what wakes them, and what keeps the house."""
