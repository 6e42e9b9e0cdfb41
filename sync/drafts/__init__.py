"""Transcription -> drafts: a recording's project, model and pieces, and one prediction row for each piece."""
