"""The model versions a process holds in memory, and how a folder from elsewhere becomes one of them."""
