"""Text -> speech, without a training library."""
