#!/usr/bin/env bash
# The README's examples, taken from the README: the programs compile and run against the installed library, the CMake
# lines configure, the commands run.
#   readme.sh PREFIX DIRECTORY       with SOURCE, BUILD, GENERATOR, CC and CXX as in consume.sh
set -euo pipefail
prefix=$1 directory=$2
rm -rf "$directory"
mkdir -p "$directory"
cd "$directory"

# block <language> <n>: the n-th block of the language.
block() {
  awk -v language="$1" -v wanted="$2" '
    /^```/ { inside = !inside; if (inside && substr($0, 4) == language) here = ++n == wanted; else here = 0; next }
    here { print; some = 1 }
    END { exit !some }' "$SOURCE/README.md" || { echo "README.md has no block $2 of $1" >&2; exit 1; }
}
flags() { PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name nearfield.pc)") pkg-config "$@" nearfield; }
LD_LIBRARY_PATH=$(flags --variable=libdir)
export LD_LIBRARY_PATH

block cpp 1 >app.cpp
block cpp 2 >app_ragged.cpp
block c 1 >app_c.c
# shellcheck disable=SC2046  # lists of options
{
  "$CXX" -std=c++20 -Wall -Wextra -Werror app.cpp $(flags --cflags --libs) -o app
  "$CXX" -std=c++20 -Wall -Wextra -Werror app_ragged.cpp $(flags --cflags --libs) -o app_ragged
  "$CC" -std=c99 -Wall -Wextra -Wpedantic -Werror app_c.c $(flags --cflags --libs) -o app_c
}
./app
./app_ragged
./app_c

for n in 1 2; do
  mkdir -p "cmake$n"
  {
    echo 'cmake_minimum_required(VERSION 3.22)'
    echo 'project(app CXX)'
    echo 'add_executable(app ../app.cpp)'
    block cmake "$n" | sed "s|add_subdirectory(nearfield)|add_subdirectory($SOURCE nearfield)|"
  } >"cmake$n/CMakeLists.txt"
  cmake -S "cmake$n" -B "cmake$n/build" -G "$GENERATOR" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX"
done
# The second one's library is built and run by the add_subdirectory tests.
cmake --build cmake1/build
cmake1/build/app

# The files that the commands read: zeros of shape (1, 8, 8, 1, 4), query, key and value also as one archive.
for name in query key value; do
  printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 8, 8, 1, 4), }" >$name.npy
  head -c $((4 * 256)) /dev/zero >>$name.npy
done
cmake -E tar cf qkv.npz --format=zip query.npy key.npy value.npy
mv query.npy q.npy
mv key.npy k.npy
mv value.npy v.npy
cp q.npy dout.npy
block sh 1 | sed "s|build/nearfield|$BUILD/nearfield|" >commands
bash -eux commands
