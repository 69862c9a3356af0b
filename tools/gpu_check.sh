#!/usr/bin/env bash
# Checks nearfield's kernels on this machine's GPU: random problems of every pattern and modifier against the float64
# reference, both passes, then some under compute-sanitizer where that is installed. Leaves a report.
#   tools/gpu_check.sh [report file]        default: build/gpu_check.txt
# On a machine without a GPU it says so, and succeeds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

report=${1:-build/gpu_check.txt}
if ! nvidia-smi -L >/dev/null 2>&1; then
  echo 'no GPU: nvidia-smi finds none; nothing was checked'
  exit 0
fi
cmake --preset release -DNEARFIELD_CUDA=on -DNEARFIELD_BUILD_TESTS=ON --log-level=NOTICE
cmake --build --preset release --target nearfield_cuda gpu_check
export NEARFIELD_CUDA_LIBRARY=$PWD/build/src/libnearfield_cuda.so
mkdir -p "$(dirname "$report")"
{
  date -u '+date: %Y-%m-%d %H:%M UTC'
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | sed 's/^/gpu and driver: /'
  build/tests/cuda_emulator/gpu_check "${NEARFIELD_GPU_CASES:-2000}"
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck synccheck; do
      echo "$tool"
      compute-sanitizer --tool "$tool" --error-exitcode 1 build/tests/cuda_emulator/gpu_check 20
    done
  else
    echo 'compute-sanitizer is not installed: memcheck, racecheck and synccheck did not run'
  fi
} 2>&1 | tee "$report"
