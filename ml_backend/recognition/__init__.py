"""Windows of speech -> texts: the parts of the engine."""
