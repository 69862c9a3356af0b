#!/usr/bin/env bash
# Brings what a make target needs and this machine lacks: Debian packages through apt-get, Python packages into .venv.
#   tools/setup.sh build|test|demo|docs|python|lint|aarch64 ...
# Says nothing, in well under two seconds, when all is there. May be interrupted at any point and run again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One row per package: the profiles that need it, its name, and, if something from outside of the package manager will
# do as well, a command that proves it.
# shellcheck disable=SC2016  # the proofs are for another shell
packages='
build       g++               g++ --version
build       cmake             cmake --version
build       ninja-build       ninja --version
build       libcli11-dev
build       libfmt-dev
build       libpng-dev
build       libzip-dev
build       nlohmann-json3-dev
build       pkgconf           pkg-config --version
test        ccache            ccache --version
test        libgtest-dev
test        chromium          chromium --version
aarch64     libgtest-dev      test -e /usr/src/googletest/CMakeLists.txt
aarch64     g++-aarch64-linux-gnu aarch64-linux-gnu-g++ --version
aarch64     qemu-user         qemu-aarch64 --version
demo,docs,lint,python python3      python3 --version
demo,docs,lint,python python3-venv python3 -c "import ensurepip"
python      binutils          readelf --version
python      python3-dev       test -e "$(python3 -c "import sysconfig; print(sysconfig.get_path(\"include\"))")/Python.h"
lint        clang-format      clang-format --version
lint        shellcheck        shellcheck --version
'

die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# Every profile includes those it stands on.
profiles=''
for profile in "$@"; do
  case $profile in
    build | lint) profiles+=" $profile" ;;
    test | demo | docs | python | aarch64) profiles+=" build $profile" ;;
    *) die "unknown profile '$profile': must be build, test, demo, docs, python, lint or aarch64" ;;
  esac
done
[ -n "$profiles" ] || die 'which profile? build, test, demo, docs, python, lint or aarch64'

needed_by_profile() {
  local wanted
  for wanted in $profiles; do
    case ",$1," in *",$wanted,"*) return 0 ;; esac
  done
  return 1
}

# The missing packages of our profiles, one a line.
missing_packages() {
  local by name proof names='' installed=''
  while read -r by name proof; do
    if [ -z "$by" ] || ! needed_by_profile "$by"; then continue; fi
    if [ -n "$proof" ] && bash -c "$proof" >/dev/null 2>&1; then continue; fi
    names+=" $name"
  done <<<"$packages"
  [ -n "$names" ] || return 0
  # shellcheck disable=SC2086  # a list of words
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $names 2>/dev/null || true)
  for name in $names; do
    grep -qx "installed $name" <<<"$installed" || printf '%s\n' "$name"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "no apt-get here; please install what Debian calls: ${missing[*]}"
  if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
    die "missing packages, and no right to install them. Please run

    sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}
"
  fi
  printf 'setup: installing Debian packages: %s\n' "${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600)
  as_root dpkg --configure -a # finishes an interrupted installation, if there was one
  as_root "${apt[@]}" update
  as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" = 0 ] || die "apt-get succeeded, but these are still missing: ${missing[*]}"
}

# install_python <profile>: the pinned packages of tools/requirements-<profile>.txt in .venv. The stamp is written last
# and holds what was installed, so an interrupted or outdated installation is done again.
install_python() {
  local requirements=tools/requirements-$1.txt stamp=.venv/installed-$1
  if [ -x .venv/bin/python ] && cmp -s "$requirements" "$stamp"; then return 0; fi
  printf 'setup: installing the Python packages of %s into .venv\n' "$requirements"
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python3 -m venv --clear .venv
  fi
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
  cp "$requirements" "$stamp"
}

install_packages
for profile in $profiles; do
  if [ -f "tools/requirements-$profile.txt" ]; then install_python "$profile"; fi
done
