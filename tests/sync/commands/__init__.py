"""Promises of the commands that need Label Studio or the whole service."""
