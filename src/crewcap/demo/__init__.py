"""Floor 4: the demo, whose agent, git and gateway are real and whose provider is scripted."""
