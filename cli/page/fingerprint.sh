#!/usr/bin/env bash
# Reads paths below the repository's root, prints each behind the hash of what it says: of sources without // comments
# and white space, so that these may change. module.sources has those that module.wasm was compiled from, and its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

while read -r path; do
  if [ ! -f "$path" ]; then
    hash=missing
  elif [ "${path##*.}" = wasm ]; then
    hash=$(sha256sum <"$path")
  else
    hash=$(sed 's,//.*,,' "$path" | tr -d '[:space:]' | sha256sum)
  fi
  printf '%s %s\n' "${hash%% *}" "$path"
done
