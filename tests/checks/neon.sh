#!/usr/bin/env bash
# The tests of the kernels on 64-bit Arm: Debian's cross compiler, and its qemu to run them. Says so when it skips for lack
# of either; ./run neon installs both.
set -euo pipefail
for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v "$tool" >/dev/null || { echo "SKIPPED: no $tool (./run neon installs it)"; exit 0; }
done
# Weak symbols are no matter here: NEON is what every 64-bit Arm has, and the one level that is built.
build=build/aarch64
[ -f $build/build.ninja ] || cmake --preset aarch64 >/dev/null
cmake --build $build --target test_kernels >$build/build.log || { tail -n 30 $build/build.log >&2; exit 1; }
ctest --test-dir $build -R "^kernels$" --output-on-failure --no-tests=error | grep -E 'Test +#|tests passed|ERROR|FAILED'
