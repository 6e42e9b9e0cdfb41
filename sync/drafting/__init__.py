"""Transcription -> what a task shows."""
