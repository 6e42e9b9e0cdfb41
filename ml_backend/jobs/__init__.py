"""Background jobs: their kinds, their rows, the relay that hands them out and the workers that run them."""
