"""Annotations of a task -> samples: pieces for training or testing, and why the rest is excluded."""
