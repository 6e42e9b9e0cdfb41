"""`/v1`: the models answer the phone system, in the form of OpenAI's audio routes."""
