#!/usr/bin/env bash
# Tests of the Python faces: builds the wheel, installs it into fresh virtual environments, each with one framework
# alone, then runs everything in tests/python against the wheel in .venv. Wheel and environments lie under build/python.
#   tools/test_python.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$PWD/.venv/bin/python
work=$PWD/build/python
mkdir -p "$work"

quiet() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }

echo 'python: building the wheel'
rm -rf "$work/wheel"
quiet "$python" -m pip wheel --disable-pip-version-check --no-deps --wheel-dir "$work/wheel" .
wheel=$(ls "$work"/wheel/nearfield-*.whl)

# alone <framework> <requirements>...: tests/python/alone.py in an environment of its own.
alone() {
  local kind=$1 venv=$work/venv-$1
  shift
  if ! cmp -s <(printf '%s\n' "$@") "$venv/installed"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    quiet "$venv/bin/python" -m pip install --disable-pip-version-check "$@"
    printf '%s\n' "$@" >"$venv/installed"
  fi
  quiet "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --force-reinstall "$wheel"
  (cd "$work" && env -u PYTHONPATH -u NEARFIELD_LIBRARY "$venv/bin/python" ../../tests/python/alone.py "$kind")
}
pinned() { grep -E "^$1==" tools/requirements-python.txt; }
alone numpy "$(pinned numpy)"
alone torch "$(pinned torch)"
alone jax "$(pinned jax)" "$(pinned jaxlib)"

quiet "$python" -m pip install --disable-pip-version-check --no-deps --force-reinstall "$wheel"
echo 'python: mypy'
"$python" -m mypy
# A process for each core; their frameworks' idle threads should leave the cores to others.
NEARFIELD_WHEEL=$wheel OMP_WAIT_POLICY=PASSIVE env -u PYTHONPATH -u NEARFIELD_LIBRARY "$python" -m pytest \
  --numprocesses "$(nproc)" --dist worksteal tests/python "$@"
