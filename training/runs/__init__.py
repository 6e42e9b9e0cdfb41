"""Dataset -> training run: arguments, estimate, checks, workspace, trainer process."""
