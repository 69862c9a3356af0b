#!/usr/bin/env bash
# Trains a transformer on the sphere to forecast the rotating shallow-water equations, and the same one on the plane, in
# Python with torch; prints tables, leaves pictures in demo-output/sphere. The states that it learns from are made first.
#   examples/sphere/demo.sh [BUILD_DIR] [arguments of train.py]
# Needs the built library (default: in build) and the packages of tools/requirements-demo.txt in .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=${1:-build}
library=$PWD/$build/src/libnearfield.so
python=.venv/bin/python

for file in "$library" "$python"; do
  if [ ! -e "$file" ]; then
    printf 'demo: %s is missing: run make sphere-demo\n' "$file" >&2
    exit 1
  fi
done

# From the tree, without installing: the package finds its library by the variable.
NEARFIELD_LIBRARY=$library PYTHONPATH=python "$python" examples/sphere/train.py --out demo-output/sphere "${@:2}"
