"""Audio bytes -> samples, decoded in a sandboxed child process; their duration, level and quality."""
