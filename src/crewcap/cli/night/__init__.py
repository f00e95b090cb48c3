"""What goes on without anybody at the keyboard, and what the morning wants to know of it."""
