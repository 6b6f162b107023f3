#!/usr/bin/env bash
# Builds and runs three small outside projects against this one: find_package, add_subdirectory, and pkg-config from C; and
# one that links the core alone, which must not need protobuf. Usage: tests/consumer/run.sh BUILD_DIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd)
work=$root/build/consumer
# As deep as build/release, so that the compiler cache sees the same relative paths and has most objects already.
sub=$root/build/consumer-sub
model=$root/tests/data/digits/model.onnx
rm -rf "$work/prefix" "$work/find_package" "$work/pkg_config"
cmake --install "$build" --prefix "$work/prefix" >/dev/null

echo "== find_package"
cmake -S "$here/find_package" -B "$work/find_package" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/find_package" >/dev/null
"$work/find_package/classify" "$model"
"$work/find_package/core_only"
if ldd "$work/find_package/core_only" | grep -i protobuf; then
  echo "the core pulls in protobuf" >&2
  exit 1
fi

echo "== pkg-config, C"
mkdir -p "$work/pkg_config"
pc=$(dirname "$(find "$work/prefix" -name skyline.pc)")
flags=$(PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$work/prefix" --cflags --libs skyline)
# shellcheck disable=SC2086
cc -std=c11 -Wall -Werror "$here/pkg_config/classify.c" -o "$work/pkg_config/classify" $flags
LD_LIBRARY_PATH=$(dirname "$pc") "$work/pkg_config/classify" "$model"

echo "== add_subdirectory"
cmake -S "$here/add_subdirectory" -B "$sub" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSKYLINE_ROOT="$root" \
  -DCMAKE_CXX_COMPILER_LAUNCHER="$(command -v ccache || true)" >/dev/null
cmake --build "$sub" --target classify >/dev/null
"$sub/classify" "$model"
