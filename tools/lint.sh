#!/usr/bin/env bash
# Formatting, shell, Python, layers and sizes of the tracked files. Prints every finding; fails if there is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

findings=0
complain() {
  printf '%s\n' "$@" >&2
  findings=$((findings + 1))
}
tracked() { git ls-files -- "$@"; }

mapfile -t c_files < <(tracked '*.c' '*.h' '*.cpp' '*.hpp' '*.inl' '*.cu')
mapfile -t python_files < <(tracked '*.py')
mapfile -t shell_files < <({ tracked '*.sh' .ci/run; git grep -lE '^#!.*(bash|sh)$' || true; } | sort -u)

check_format() {
  clang-format --dry-run -Werror "${c_files[@]}" || complain 'format: run make format'
}

check_shell() {
  local file
  for file in "${shell_files[@]}"; do bash -n "$file" || complain "$file: does not parse"; done
  shellcheck "${shell_files[@]}" || complain 'shell: see above'
}

check_python() {
  if [ "${#python_files[@]}" = 0 ]; then return; fi
  .venv/bin/python -m ruff check --quiet "${python_files[@]}" || complain 'python: see above'
  .venv/bin/python -m ruff format --quiet --check "${python_files[@]}" || complain 'python: run ruff format'
}

# An include may point down or sideways: base < pattern < plan < engine < dispatch < faces; check/
# stands beside the faces and is used by tests and the program. Engines see patterns only
# through plans and engine/problem.h; only the reference, which executes no plan, reads them itself. Public headers and
# examples stand on nearfield/ alone.
check_layers() {
  awk '
    BEGIN { split("base pattern plan engine dispatch check", names); for (i in names) rank[names[i]] = i; }
    FNR == 1 { layer = FILENAME; sub(/^src\//, "", layer); face = !sub(/\/.*/, "", layer) && FILENAME ~ /^src\// }
    /^[ \t]*#[ \t]*include[ \t]*["<]/ {
      target = $0; gsub(/^[^"<]*["<]|[">].*/, "", target)
      to = target; if (!sub(/\/.*/, "", to)) next
      bad = ""
      if (FILENAME !~ /^src\//) { if (FILENAME !~ /^cli\// && to in rank) bad = "users have nearfield/ alone" }
      else if (!face && !(layer in rank)) bad = "src/" layer " has no place among the layers"
      else if ((layer == "dispatch" || layer == "check") && target == "nearfield/nearfield.h") next # C structs as they come
      else if (!face && to == "nearfield") bad = layer " knows no face"
      else if (!face && rank[to] > rank[layer]) bad = layer " must not look up"
      else if (layer == "engine" && to == "pattern" && FILENAME !~ /^src\/engine\/(reference\/|problem\.h$)/)
        bad = "an engine executes plans and knows no geometry"
      if (bad != "") { printf "%s:%d: includes %s: %s\n", FILENAME, FNR, target, bad; found = 1 }
    }
    END { exit found }' "$@" >&2 || complain 'layers: see above'
}

check_build_files() {
  local name=$'-march=native|-ffast-math|-Ofast'
  if git grep -nE -e "$name" -- '*CMakeLists.txt' '*.cmake' '*Presets.json' Makefile >&2; then
    complain 'build: results must not depend on the machine that built the library, nor on reordered sums'
  fi
}

# The page of `simulate --html` carries the geometry as it was when its module was compiled.
check_page_module() {
  cut -d ' ' -f 2 cli/page/module.sources | cli/page/fingerprint.sh | diff cli/page/module.sources - >&2 ||
    complain 'cli/page/module.wasm: not of these sources: run cli/page/build.sh'
}

check_sizes() {
  local lines file
  while read -r lines file; do
    if [ "$file" != total ] && [ "$lines" -gt 400 ]; then complain "$file: $lines lines: must be at most 400"; fi
  done < <(wc -l "${c_files[@]}" "${python_files[@]}" "${shell_files[@]}")
  if [ "$(wc -l <CMakeLists.txt)" -gt 150 ]; then complain 'CMakeLists.txt: must be at most 150 lines'; fi
}

mapfile -t layered < <(tracked 'src/*.h' 'src/*.cpp' 'src/*.inl' 'cli/*.h' 'cli/*.cpp' 'include/*.h' 'include/*.hpp' \
  'examples/*.cpp')
check_format
check_shell
check_python
check_layers "${layered[@]}"
check_build_files
check_page_module
check_sizes
if [ "$findings" != 0 ]; then
  echo "lint: $findings findings" >&2
  exit 1
fi
echo "lint: clean (${#c_files[@]} C and C++ files, ${#shell_files[@]} shell scripts, ${#python_files[@]} Python files)"
