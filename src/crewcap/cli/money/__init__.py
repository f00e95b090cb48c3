"""What was spent, what will be, what might have been, and what may be: one file a question."""
