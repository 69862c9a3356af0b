#!/usr/bin/env bash
# Trains four small transformers on scans of digits, two along the Hilbert curve and their row-major counterparts, in
# Python with torch; prints a table.
#   examples/hilbert/demo.sh [BUILD_DIR] [arguments of train.py]
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
NEARFIELD_LIBRARY=$library PYTHONPATH=python "$python" examples/hilbert/train.py --least 0.8 "${@:2}"
