#!/usr/bin/env bash
# Trains a small classifier with neighborhood attention on scans of digits, in Python with torch; leaves the learning
# curve and attention maps in demo-output/digits.
#   examples/digits/demo.sh [BUILD_DIR] [arguments of train.py]
# Needs the built library (default: in build) and the packages of tools/requirements-demo.txt in .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=${1:-build}
library=$PWD/$build/src/libnearfield.so
python=.venv/bin/python

for file in "$library" "$python"; do
  if [ ! -e "$file" ]; then
    printf 'demo: %s is missing: run make demo\n' "$file" >&2
    exit 1
  fi
done

# From the tree, without installing: the package finds its library by the variable.
NEARFIELD_LIBRARY=$library PYTHONPATH=python "$python" examples/digits/train.py --out demo-output/digits "${@:2}"
