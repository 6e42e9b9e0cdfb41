"""Two model versions on real calls: who is on which side, what came of it, and when it is decided."""
