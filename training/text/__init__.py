"""Four readings of a text for comparing it: scripts, spellings, numbers. Plain tables and pure functions."""
