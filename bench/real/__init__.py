"""`make real`: the product on OpenAI's Whisper base and on recorded voices. `parts` fetches both."""
