#!/bin/sh
# What only a GPU can show, in at most eight minutes, on a machine without a network. Beforehand, with a network and the
# same Python: scripts/gpu.sh wheels (fetches the training set with CUDA into build/gpu-wheels, a few gigabytes).
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}
torch=$(sed -n 's/^TORCH = "\(.*\)"  #.*/\1/p' scripts/environment.py)
if [ "${1:-}" = wheels ]; then
    "$python" -m pip download --only-binary :all: -d build/gpu-wheels "$torch"
    for wheel in build/gpu-wheels/torch-*+cpu-*.whl; do
        [ ! -e "$wheel" ] || { echo "gpu: this package index gave a torch without CUDA ($wheel). Delete it, set PIP_INDEX_URL to one that has CUDA builds, and repeat."; exit 2; }
    done
    exec "$python" -m pip download --only-binary :all: --no-deps -d build/gpu-wheels -r requirements/training.lock
fi
command -v nvidia-smi >/dev/null || { echo "gpu: this machine shows no NVIDIA GPU; nothing was run."; exit 2; }
[ -d build/gpu-wheels ] || { echo "gpu: build/gpu-wheels is missing: sh scripts/gpu.sh wheels, with a network."; exit 2; }
if [ ! -x build/gpu-venv/bin/python ]; then
    "$python" -m venv build/gpu-venv
    build/gpu-venv/bin/python -m pip install -q --no-index --find-links build/gpu-wheels "$torch"
    build/gpu-venv/bin/python -m pip install -q --no-index --find-links build/gpu-wheels --no-deps -r requirements/training.lock
fi
PYTHONPATH=$PWD exec timeout 480 build/gpu-venv/bin/python -m bench.gpu "$@"
