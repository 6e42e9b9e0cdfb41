"""Model version, dataset -> evaluation and verdict, with the report people read."""
