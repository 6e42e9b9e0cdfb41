"""Samples -> a dataset: the manifest that never changes, and its renderings."""
