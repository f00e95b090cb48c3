"""What one meets first: the demo, settings, and whether a machine and a repository are fit."""
