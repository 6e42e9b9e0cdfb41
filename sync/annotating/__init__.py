"""What people submit in Label Studio, kept here once per change, with the draft it began from."""
