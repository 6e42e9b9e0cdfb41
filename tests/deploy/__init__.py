"""Promises about deploy/: what it names exists, and what it watches is noticed."""
