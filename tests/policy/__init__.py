"""Borders, names and documents: what keeps the tree true while it grows."""
