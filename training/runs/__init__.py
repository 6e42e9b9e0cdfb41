"""Dataset -> training run: arguments, estimate, checks, workspace, the trainer's process."""
