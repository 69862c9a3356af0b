#!/usr/bin/env bash
# Learns on one photograph how to compare patches, scores it on two others, and leaves the pictures in demo-output/train.
#   examples/train/demo.sh [BUILD_DIR]
# Needs the built tree (default: build) and the Python packages of tools/requirements-demo.txt in .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

program=${1:-build}/examples/train/nearfield_train
python=.venv/bin/python
output=demo-output/train

for file in "$program" "$python"; do
  if [ ! -x "$file" ]; then
    printf 'train-demo: %s is missing: run make train-demo\n' "$file" >&2
    exit 1
  fi
done

# The photographs come with scikit-image. Asking where the package lies does not import it.
photographs=$("$python" - <<'PYTHON'
from importlib.util import find_spec
from pathlib import Path
print(Path(find_spec("skimage").origin).parent / "data")
PYTHON
)

"$program" "$photographs"/{astronaut,chelsea,coffee}.png --out "$output"
echo
echo "Look at $output/chelsea_comparison.png; examples/train/README.md explains it."
