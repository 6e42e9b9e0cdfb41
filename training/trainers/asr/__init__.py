"""Whisper: features, collation, training loop and export, for the bundled model and for fine-tuning."""
