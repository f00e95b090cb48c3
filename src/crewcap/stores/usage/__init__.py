"""The index of past usage: what was read of transcripts, and how far. Never the books."""
