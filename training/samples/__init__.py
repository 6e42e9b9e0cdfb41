"""Annotations of a task -> samples: what may be learnt or tested on, and why the rest may not."""
