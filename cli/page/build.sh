#!/usr/bin/env bash
# Compiles the page's module, module.wasm: the library's geometry as WebAssembly. Needed only where src/pattern, src/plan
# or the rules of their arguments have changed; no other build asks for this compiler. Debian's packages: clang lld
# wasi-libc libc++-14-dev-wasm32 libc++abi-14-dev-wasm32 libclang-rt-14-dev-wasm32.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
compiler=${CLANG:-clang++-14}

sources=(module.cpp ../../src/dispatch/{geometry_rules,pattern_rules}.cpp
  ../../src/pattern/{curve,hilbert,sphere,sphere_grid,sphere_pattern,token_order}.cpp
  ../../src/plan/{arc_sums,arcs,axis_table,cost_model,key_tiles,plan,simulate,simulate_sphere}.cpp)
for source in "${sources[@]}"; do
  "$compiler" --target=wasm32-wasi -std=c++20 -Oz -fexceptions -ffunction-sections -fdata-sections -DNEARFIELD_STATIC \
    -I. -I../../src -I../../include -MD -c "$source" -o "$objects/$(basename "$source" .cpp).o"
done
"$compiler" --target=wasm32-wasi -mexec-model=reactor "$objects"/*.o -o module.wasm \
  -Wl,--gc-sections -Wl,--strip-all -Wl,-z,stack-size=65536
# What lint compares: see fingerprint.sh. The public headers often get what the page knows nothing of.
root=$(git rev-parse --show-toplevel)
{
  echo cli/page/module.wasm
  cat "$objects"/*.d | sed 's,[\\],,g' | tr ' ' '\n' | grep -E '\.(cpp|h|hpp)$' | xargs realpath --relative-base="$root" |
    grep -v -e '^/' -e '^include/' | LC_ALL=C sort -u
} | ./fingerprint.sh >module.sources
wc -c module.wasm
