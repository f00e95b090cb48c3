"""A run's side of git: trusted mirrors, private clones, and how work comes home."""
