#!/bin/sh
# usage: exported_symbols.sh <nm> <libnearfield.so>
# Fails if the shared library defines a dynamic symbol other than nf_*, or lacks one that the header declares.
set -eu
header=$(dirname "$0")/../../include/nearfield/nearfield.h

symbols=$("$1" -D --defined-only "$2" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
strangers=$(echo "$symbols" | grep -v '^nf_[a-z0-9_]*$' || true)
if [ -n "$strangers" ]; then
  echo "exported, but not of the C ABI:" && echo "$strangers" && exit 1
fi
declared=$(sed -n 's/^NF_API .*[ *]\(nf_[a-z0-9_]*\)(.*/\1/p' "$header" | sort -u)
if [ "$symbols" != "$declared" ]; then
  echo "exported:" && echo "$symbols"
  echo "declared:" && echo "$declared"
  exit 1
fi
echo "$(echo "$symbols" | wc -l) symbols, all nf_*"
