#!/bin/sh
# Installs the course from this folder, without a network: sh install.sh
# Run it again if it was interrupted.
set -eu
cd "$(dirname "$0")"

PYTHON=${PYTHON:-python@PYTHON@}
command -v "$PYTHON" >/dev/null 2>&1 || PYTHON=python3
if ! "$PYTHON" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "@PYTHON@")' 2>/dev/null; then
    echo "Python @PYTHON@ is needed, which the libraries in this folder are made for: PYTHON=/path/to/python@PYTHON@ sh install.sh" >&2
    exit 2
fi

echo "1/3 are all files whole?"
if command -v sha256sum >/dev/null 2>&1; then sum="sha256sum"; else sum="shasum -a 256"; fi
if ! $sum -c checksums.txt >.checked 2>&1; then
    grep -v ': OK$' .checked | head -5 >&2
    echo "These files are damaged or missing: copy or unpack the archive again." >&2
    exit 2
fi
rm -f .checked

if [ "@TORCH@" = no ] && ! "$PYTHON" -c 'import torch' 2>/dev/null; then
    echo "This is the variant without torch, and $PYTHON has none: take the pack that brings it." >&2
    exit 2
fi

echo "2/3 installing the libraries into .venv (some minutes)"
test -x .venv/bin/python || "$PYTHON" -m venv @OPTIONS@ .venv
pip() { .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --find-links wheels "$@"; }
pip -r requirements.txt -c constraints-pack.txt
pip --no-deps -e .
touch .venv/.complete

echo "3/3 is everything there?"
.venv/bin/python -m helpers fetch
echo "Done. Now: .venv/bin/jupyter lab student/00_start_here.ipynb"
