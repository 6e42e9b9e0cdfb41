"""`python -m bench`: ratios side by side in one run (see `bench/__main__.py`)."""
