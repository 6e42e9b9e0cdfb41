"""Which recordings become work, for whom, and in which order."""
