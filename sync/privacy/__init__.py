"""Erasing, keeping and consent."""
