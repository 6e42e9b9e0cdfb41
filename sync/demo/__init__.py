"""What the demo has in place of a telephone company and of annotators."""
