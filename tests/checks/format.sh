#!/usr/bin/env bash
# Every C++ source is as clang-format would have it.
set -euo pipefail
git ls-files -z '*.cc' '*.h' | xargs -0 clang-format --dry-run -Werror
