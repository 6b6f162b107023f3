#!/usr/bin/env bash
# The tests of kernels and graph on 64-bit Arm: Debian's cross compiler, and its qemu to run them. Says so when it skips for lack
# of either; ./run neon installs both.
set -euo pipefail
for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v "$tool" >/dev/null || { echo "SKIPPED: no $tool (./run neon installs it)"; exit 0; }
done
build=build/aarch64
[ -f $build/build.ninja ] || cmake --preset aarch64 >/dev/null
cmake --build $build >$build/build.log || { tail -n 30 $build/build.log >&2; exit 1; }
tests/checks/weak_symbols.sh $build
ctest --test-dir $build --output-on-failure --no-tests=error | grep -E 'Test +#|tests passed|ERROR|FAILED'
