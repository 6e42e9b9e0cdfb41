"""The model versions that a process holds in memory, and the adoption of models made elsewhere."""
