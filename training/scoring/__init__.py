"""Counts of edits and what is computed from them."""
