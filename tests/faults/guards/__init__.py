"""Guards of the product, each with its removal: how a fault test is shown to be able to fail."""
