"""One recording: its source, original, length, pieces and removal."""
