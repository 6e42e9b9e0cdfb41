"""Two model versions on real calls: assignment, outcomes, and decision."""
