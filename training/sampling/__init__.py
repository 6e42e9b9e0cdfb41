"""Annotations of a task -> samples: what a model may learn from or be tested on, and why the rest may not."""
