"""`make real`: the product on a Whisper that somebody else trained, and on voices of people. `parts` fetches both."""
