"""What people submit in Label Studio: one row per change, with the draft it began from."""
