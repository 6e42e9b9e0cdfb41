"""What callers want, in their words: utterances with intents and entities, from tables, files and corrections."""
