"""Figures of the people who annotate: by day, of the team, of one person."""
