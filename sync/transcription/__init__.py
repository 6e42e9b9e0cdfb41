"""Object -> Transcription, in pooled jobs; long calls over several jobs."""
