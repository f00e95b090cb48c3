"""`crewcap batch`: many prompts at the price of a batch, under one cap."""
