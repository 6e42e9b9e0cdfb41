"""Audio bytes -> samples, decoded in a jailed child process; how long, how loud, how clear they are."""
