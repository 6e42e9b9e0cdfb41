"""`python -m ml_backend`: see `ml_backend.commands.command_line`."""

import os
import sys

try:
    from ml_backend.commands.command_line import main
    from ml_backend.file_permissions import UMASK
except ModuleNotFoundError as absent:  # typed with another Python than that of the environment
    if (absent.name or "ml_backend").partition(".")[0] in ("ml_backend", "sync", "training"):
        raise
    told = f"error: {sys.executable} has no {absent.name}, which Kaan needs. [not-installed]"
    print(f"{told}\n       Use `.venv/bin/python -m ml_backend`; `make environment-demo` makes it.", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    os.umask(UMASK)  # recordings, models, logs and backups are made for this user only
    sys.exit(main())
