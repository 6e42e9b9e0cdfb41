"""Requests to addresses that somebody else gave us."""
