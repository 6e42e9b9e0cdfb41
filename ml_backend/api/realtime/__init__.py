"""`/v1/realtime`: texts while somebody speaks, over a WebSocket in the form of OpenAI's realtime transcription."""
