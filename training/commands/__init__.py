"""Commands about datasets, training and models."""
