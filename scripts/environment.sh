#!/bin/sh
# Finds a Python that the locks were made for, then runs environment.py: `sh scripts/environment.sh serving`.
# PYTHON=/path/to/python3.11 names one. Written in sh because an old Python cannot say what it lacks.
here=$(dirname "$0")

usable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

for candidate in "$PYTHON" python3 python3.11 python3.12 python3.13; do
    # A pyenv shim may be on the path and still not run, so each one is tried.
    if [ -n "$candidate" ] && usable "$candidate"; then
        exec "$candidate" "$here/environment.py" "$@"
    fi
done

found=$(python3 --version 2>/dev/null || echo "no python3")
echo "This needs Python 3.11, 3.12 or 3.13, and there is only $found here." >&2
echo "Install one (Debian, Ubuntu: apt install python3.11 python3.11-venv; or pyenv; or python.org)," >&2
echo "or name it: make demo PYTHON=/path/to/python3.11" >&2
exit 1
