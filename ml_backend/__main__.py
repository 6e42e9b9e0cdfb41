"""`python -m ml_backend`: see `ml_backend.cli`."""

import os
import sys

from ml_backend.cli import main
from ml_backend.private import UMASK

if __name__ == "__main__":
    os.umask(UMASK)  # recordings, models, logs and backups are made for this user only
    sys.exit(main())
