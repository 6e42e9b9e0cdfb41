"""Speech recognition: samples -> windows -> words with times, confidences and flags."""
