"""Promises of the HTTP routes."""
