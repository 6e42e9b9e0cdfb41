"""What `serve` answered, kept for long."""
