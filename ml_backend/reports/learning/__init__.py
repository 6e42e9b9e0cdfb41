"""What was learnt: versions, verdicts and runs."""
