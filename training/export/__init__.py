"""Samples -> the manifest that is a dataset, and its renderings."""
