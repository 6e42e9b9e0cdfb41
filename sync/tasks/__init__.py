"""Which recordings become tasks, in which order, and how tasks and predictions reach Label Studio."""
