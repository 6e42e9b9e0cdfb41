"""Erased recordings -> datasets and reports without them."""
