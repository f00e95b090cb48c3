"""The walls around a run: the ladder of sandboxes, what starts inside them, and what a run may use."""
