#!/bin/sh
# Known vulnerabilities of everything the locks pin: `make audit`. pip-audit lives in an environment of its own and asks
# the public advisory database; where that cannot be reached nothing is audited, which is said and is a failure.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
HOME_OF_IT=.venv-audit
VERSION=2.10.1

if ! "$HOME_OF_IT/bin/pip-audit" --version 2>/dev/null | grep -q "$VERSION"; then
    "$PYTHON" -m venv --clear "$HOME_OF_IT"
    "$HOME_OF_IT/bin/python" -m pip install --quiet --disable-pip-version-check "pip-audit==$VERSION"
fi

worst=0
for lock in requirements/*.lock; do
    echo "== $lock"
    said=$("$HOME_OF_IT/bin/pip-audit" --requirement "$lock" --require-hashes --disable-pip --progress-spinner off 2>&1) \
        && state=0 || state=$?
    case $said in
    *"Failed to "*|*ConnectionError*|*ServiceError*|*"Max retries"*|*"Name or service"*|*HTTPError*)
        echo "The advisory database cannot be reached from here: nothing was audited."
        exit 2 ;;
    esac
    unknown=$(printf '%s\n' "$said" | grep -c "could not be audited" || true)
    printf '%s\n' "$said" | grep -v "could not be audited" || true
    if [ "$unknown" -gt 0 ]; then
        echo "$unknown packages are unknown to the advisory database that can be reached here: they were not audited."
        worst=1
    fi
    [ "$state" = 0 ] || worst=1
done
exit "$worst"
