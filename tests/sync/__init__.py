"""Promises of sync/, kept against a real Label Studio."""
