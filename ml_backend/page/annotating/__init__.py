"""The pages of those who annotate and of whoever leads them."""
