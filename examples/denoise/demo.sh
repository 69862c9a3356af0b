#!/usr/bin/env bash
# Denoises a photograph with nearfield, then with scikit-image, and leaves the pictures in demo-output/.
#   examples/denoise/demo.sh [BUILD_DIR]
# Needs the built tree (default: build) and the Python packages of tools/requirements-demo.txt in .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

program=${1:-build}/examples/denoise/nearfield_denoise
python=.venv/bin/python
output=demo-output

for file in "$program" "$python"; do
  if [ ! -x "$file" ]; then
    printf 'demo: %s is missing: run make demo\n' "$file" >&2
    exit 1
  fi
done

# The photograph comes with scikit-image; NASA put it into the public domain. Asking where the package lies does not
# import it.
photograph=$("$python" - <<'PYTHON'
from importlib.util import find_spec
from pathlib import Path
print(Path(find_spec("skimage").origin).parent / "data" / "astronaut.png")
PYTHON
)

# The query lies on the edge of a stripe of the flag.
"$program" "$photograph" "$output" --sigma 0.08 --threads 1,0 --repeat 3 --query 190,42
echo
"$python" examples/denoise/compare.py "$output"
echo
echo "Look at $output/comparison.png and $output/attention.png; examples/denoise/README.md explains them."
