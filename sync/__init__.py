"""Moves data: calls, recordings, transcriptions, tasks and annotations between the outside worlds and our rows."""
