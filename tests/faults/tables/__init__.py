"""Which test meets which fault."""
