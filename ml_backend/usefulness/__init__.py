"""Where the next minute of annotation pays: what the team's corrections have taught, applied to one task."""
