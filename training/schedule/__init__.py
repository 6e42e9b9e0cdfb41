"""When a training run is due, and the request that starts it."""
