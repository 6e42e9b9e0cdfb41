"""Figures over time, counted once for commands, /api and the page."""
