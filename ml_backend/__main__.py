"""`python -m ml_backend`: see `ml_backend.cli`."""

import sys

from ml_backend.cli import main

if __name__ == "__main__":
    sys.exit(main())
