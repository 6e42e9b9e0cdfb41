"""Turns annotations into evaluated model versions."""
