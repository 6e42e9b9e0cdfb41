"""`demo`: the whole embedded form on one machine, brought up, watched and taken down by one process."""
