"""Real servers that tests start: each on a free port, in its own folder, stopped again."""
