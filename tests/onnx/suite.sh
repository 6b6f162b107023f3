#!/usr/bin/env bash
# The ONNX backend suites, as far as they are on this machine: Debian's libonnx-testdata (opset 17), and the 1.23 suite if
# $SKYLINE_MODELS has it. No wrong answer and no crash is allowed, and no fewer passes than were reached.
set -uo pipefail
skyline=${1:?usage: suite.sh SKYLINE}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
models=${SKYLINE_MODELS:-$root/../shared/models}
status=0

check() { # FOLDER LEAST NAME
  local out
  out=$(SKYLINE_THREADS=1 "$skyline" verify "$1" --json 2>/dev/null)
  python3 - "$3" "$2" <<PY || status=1
import json, sys
d = json.loads(r'''$out''')
name, least = sys.argv[1], int(sys.argv[2])
print(f"{name}: {d['passed']} passed, {d['wrong']} wrong, {d['unsupported']} unsupported, {d['crashed']} crashed of {d['total']}")
for r in d["not_passed"]:
    if r["status"] != "unsupported":
        print("  ", r["status"], r["model"].split("/")[-1], r.get("reason", "")[:300])
sys.exit(d["wrong"] > 0 or d["crashed"] > 0 or d["passed"] < least)
PY
}

if [ -d /usr/share/libonnx-testdata/data ]; then
  check /usr/share/libonnx-testdata/data "${SKYLINE_LEAST_DEBIAN:-1000}" "libonnx-testdata"
else
  echo "SKIPPED: libonnx-testdata is not installed"
fi
archive=$models/onnx-backend-tests-1.23.0.tar.xz
if [ -f "$archive" ]; then
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  tar -xJf "$archive" -C "$unpacked"
  check "$unpacked" "${SKYLINE_LEAST_123:-1700}" "onnx 1.23"
else
  echo "SKIPPED: the ONNX 1.23 suite is not in \$SKYLINE_MODELS"
fi
exit $status
