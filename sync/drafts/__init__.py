"""Transcription -> what a task shows: the project and model of a recording, its pieces, one prediction row each."""
