"""Parler-TTS: a base by folder or hub name, fine-tuned on a company's voices, in an environment of its own."""
