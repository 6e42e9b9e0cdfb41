"""`python -m ml_backend`: see `ml_backend.commands.command_line`."""

import os
import sys

from ml_backend.commands.command_line import main
from ml_backend.file_permissions import UMASK

if __name__ == "__main__":
    os.umask(UMASK)  # recordings, models, logs and backups are made for this user only
    sys.exit(main())
