"""Recordings of known texts -> what a voice may learn from, and how people rate it."""
