#!/usr/bin/env bash
# clang-tidy on the sources that the last commits changed, at most 16 of them: those since SKYLINE_TIDY_BASE (default: eight
# commits ago).
set -uo pipefail
build=${1:-build/release}
[ -f "$build/compile_commands.json" ] || { echo "no compile_commands.json in $build" >&2; exit 1; }
base=${SKYLINE_TIDY_BASE:-$(git rev-parse -q --verify HEAD~8 || git rev-list --max-parents=0 HEAD | tail -n 1)}
mapfile -t changed < <(git diff --name-only --diff-filter=d "$base" -- '*.cc' | grep -vE '\.isa\.cc$|_(sse2|avx2|avx512|avx512vnni|avx512fp16|amx|neon)\.cc$|^tests/consumer/')
[ ${#changed[@]} -eq 0 ] && exit 0
files=()
for f in "${changed[@]}"; do
  grep -qF "/$f\"" "$build/compile_commands.json" && files+=("$f")
done
echo "clang-tidy: ${#files[@]} changed sources since ${base:0:8}, checking at most 16" >&2
printf '%s\0' "${files[@]:0:16}" | xargs -0 -r -n 4 -P 2 clang-tidy --quiet -p "$build" 2>/dev/null
