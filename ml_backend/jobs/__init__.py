"""Background jobs: their kinds, their rows, the relay that sends them out and the workers that run them."""
