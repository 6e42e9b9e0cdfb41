"""Read-only queries, shared by commands and /api."""
