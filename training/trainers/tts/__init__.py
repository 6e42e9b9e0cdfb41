"""Fine-tuning the voice that speaks without a training library; see `training.trainers.tts.__main__`."""
