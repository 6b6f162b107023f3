#!/usr/bin/env bash
# Checks of the sources and of the objects built from them. Usage: tests/checks/all.sh BUILD_DIR
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:-build/release}
failed=0
for check in format layers weak_symbols tidy neon; do
  if tests/checks/$check.sh "$build"; then
    echo "check $check: ok"
  else
    echo "check $check: FAILED"
    failed=1
  fi
done
exit $failed
