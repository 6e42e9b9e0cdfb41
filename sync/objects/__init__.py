"""Recordings found in the object store."""
