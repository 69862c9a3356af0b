#!/usr/bin/env bash
# The ways to nearfield that its users take, each from a project of its own in an own directory.
#   consume.sh ROUTE shared|static
# From the environment: SOURCE and BUILD, nearfield's trees; WORK, a directory to work in; CC, CXX; GENERATOR; VERSION.
set -euo pipefail
route=$1 kind=$2
here=$SOURCE/tests/install
prefix=$WORK/moved/$kind
project=$WORK/$route-$kind
# Both kinds in one tree: what is linked differs, not the many objects that it is made of.
if [ "$route" = add_subdirectory ]; then project=$WORK/$route; else rm -rf "$project"; fi
die() {
  printf '%s\n' "$*" >&2
  exit 1
}

configure() { # configure <directory of the project> <options>
  cmake -S "$here/$1" -B "$project" -G "$GENERATOR" -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" "${@:2}"
}
build_and_run() {
  cmake --build "$project"
  "$project/consumer"
}
# The package must not depend on where it was first installed.
install_and_move() {
  rm -rf "$WORK/staged/$kind" "$prefix"
  cmake --install "$1" --prefix "$WORK/staged/$kind"
  mkdir -p "$WORK/moved"
  mv "$WORK/staged/$kind" "$prefix"
}
# compile_with_pkg_config <program> <source> <compiler and flags>
compile_with_pkg_config() {
  local flags options=(--cflags --libs)
  if [ "$kind" = static ]; then options+=(--static); fi
  flags=$(PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name nearfield.pc)") pkg-config "${options[@]}" nearfield)
  # shellcheck disable=SC2086  # a list of options
  "${@:3}" "$2" -o "$1" $flags -Wl,-rpath,"$(dirname "$(find "$prefix" -name 'libnearfield.*' -print -quit)")"
}

case $route in
  install)
    install_and_move "$BUILD"
    ;;
  find_package)
    configure find_package -DCMAKE_PREFIX_PATH="$prefix" -DWANTED_VERSION="$VERSION"
    build_and_run
    ;;
  find_package_c)
    configure find_package_c -DCMAKE_PREFIX_PATH="$prefix" -DWANTED_VERSION="${VERSION%.*}"
    build_and_run
    ;;
  other_version) # before 1.0 every minor version is another ABI
    for wanted in 0.0 "${VERSION%%.*}.99" 99; do
      rm -rf "$project"
      if answer=$(configure find_package -DCMAKE_PREFIX_PATH="$prefix" -DWANTED_VERSION="$wanted" 2>&1); then
        die "version $VERSION passed for $wanted"
      fi
      grep -F "compatible with requested version \"$wanted\"" <<<"${answer//$'\n'/ }" >/dev/null || die "$answer"
    done
    ;;
  pkg_config)
    mkdir -p "$project"
    compile_with_pkg_config "$project/consumer" "$here/consumer.cpp" "$CXX" -std=c++20
    "$project/consumer"
    compile_with_pkg_config "$project/consumer_c" "$here/c99_program.c" "$CC" -std=c99
    "$project/consumer_c"
    ;;
  add_subdirectory)
    shared=$([ "$kind" = shared ] && echo ON || echo OFF)
    configure add_subdirectory -DNEARFIELD_SOURCE="$SOURCE" -DBUILD_SHARED_LIBS="$shared" -DNEARFIELD_INSTALL=ON \
      -DCMAKE_BUILD_TYPE=Debug
    build_and_run
    # Installed from here it is the package that the other static tests use.
    if [ "$kind" = static ]; then install_and_move "$project"; fi
    ;;
  program)
    "$prefix/bin/nearfield" --version | grep -F "$VERSION"
    ;;
  exports) # the C ABI and nothing else
    library=$(find "$prefix" -name "libnearfield.so.$VERSION")
    readelf -d "$library" | grep -F "soname: [libnearfield.so.${VERSION%%.*}]"
    shown=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort)
    promised=$(sed -nE 's/^NF_API .*[ *](nf_[a-z0-9_]+)\(.*/\1/p' "$SOURCE"/include/nearfield/*.h | sort)
    diff <(printf '%s\n' "$promised") <(printf '%s\n' "$shown") || die 'declared (<) and exported (>) differ'
    ;;
  readme)
    "$here/readme.sh" "$prefix" "$project"
    ;;
  *) die "no route '$route'" ;;
esac
