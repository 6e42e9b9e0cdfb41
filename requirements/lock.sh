#!/bin/sh
# Writes the six lock files: `make lock`, or `sh requirements/lock.sh --upgrade` for newer versions.
# The development set is resolved first and constrains the two it contains, so a version is the same in all three.
# torch is taken out of the resolution: which build is right is a question of the machine, not of the lock.
set -eu
cd "$(dirname "$0")/.."
UV=${UV:-.venv/bin/uv}
without_torch=$(mktemp)
without_dac=$(mktemp)
trap 'rm -f "$without_torch" "$without_dac"' EXIT
echo "torch ; python_version < '3'" > "$without_torch"
# parler-tts asks for these for the codec of its oldest models; they do not import beside a CPU torch
for unwanted in torch descript-audio-codec-unofficial descript-audiotools-unofficial; do
    echo "$unwanted ; python_version < '3'" >> "$without_dac"
done

lock() {
    lock=requirements/$1.lock
    shift
    "$UV" pip compile "$@" -o "$lock" --quiet --python-version 3.11 --generate-hashes --no-annotate \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
    echo "$lock: $(grep -c '==' "$lock") pins"
}

lock development pyproject.toml --extra training --extra development --override "$without_torch" "$@"
lock training pyproject.toml --extra training --override "$without_torch" --constraint requirements/development.lock
lock serving pyproject.toml --constraint requirements/development.lock
lock label-studio requirements/label-studio.in "$@"
lock parler requirements/parler.in --override "$without_dac" "$@"
lock cuda requirements/cuda.in "$@"
