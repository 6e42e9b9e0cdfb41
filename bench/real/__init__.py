"""`make real`: the product on a Whisper that others trained and on voices of people. See `parts` for where they come from."""
