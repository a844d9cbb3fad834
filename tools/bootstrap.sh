#!/bin/sh
# Build .venv from requirements.lock. Only Python >= 3.11 with venv is needed; uv itself comes from the lock, by hash.
set -eu
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "actrec needs Python 3.11 or newer; $("$python" --version) is first on the path. Try: make PYTHON=python3.12" >&2
    exit 1
}
echo "Setting up .venv (once; torch is a large download) ..."
[ -x .venv/bin/python ] || "$python" -m venv .venv
bin=$PWD/.venv/bin

awk '/^uv==/ {keep=1} keep {print} keep && !/\\$/ {exit}' requirements.lock >.venv/uv.lock
"$bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.lock
VIRTUAL_ENV=$PWD/.venv
export VIRTUAL_ENV
# Compiled at once: else each of the first processes does it, and where Python may not write, every one.
"$bin/uv" pip sync --quiet --compile-bytecode --require-hashes requirements.lock
"$bin/uv" pip install --quiet --no-deps --no-build-isolation --editable .

# `dvc exp run` commits, and git refuses to without a name. Where none is configured, activating .venv lends one.
grep -q actrec_identity "$bin/activate" || cat tools/identity.sh >>"$bin/activate"
touch .venv/.ready
