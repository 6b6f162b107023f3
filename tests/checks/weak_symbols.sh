#!/usr/bin/env bash
# No object compiled for an ISA level exports a weak symbol without the level in its name: the linker may hand such a copy to
# every CPU. xsimd's templates carry the level as a type (avx512bw, fma3<avx2>, sse2, neon64).
set -uo pipefail
build=${1:-build/release}
status=0 seen=0
for level in sse2 avx2 avxvnni avx512 avx512vnni avx512fp16 amx neon; do
  while IFS= read -r object; do
    seen=$((seen + 1))
    bad=$(nm --defined-only "$object" | awk '$2 ~ /^[WVu]$/ {print $3}' | grep -vE 'avx512|avx2|fma3|sse2|neon|^DW\.ref\.')
    if [ -n "$bad" ]; then
      echo "$object:" >&2
      echo "$bad" | head -n 5 | c++filt | sed 's/^/  weak and untagged: /' >&2
      status=1
    fi
  done < <(find "$build/kernels/CMakeFiles/skyline_kernels_$level.dir" -name '*.o' 2>/dev/null)
done
[ $seen -gt 0 ] || { echo "no ISA objects below $build: build first" >&2; exit 1; }
exit $status
