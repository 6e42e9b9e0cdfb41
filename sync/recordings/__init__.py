"""A recording of its own: where it comes from, its original, its length, its pieces, its end."""
