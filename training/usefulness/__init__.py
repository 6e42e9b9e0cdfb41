"""Learns from the team's corrections what a draft costs, what it saves, and what more annotation brings."""
