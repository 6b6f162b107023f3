#!/usr/bin/env bash
# The tests of the Python tools under bench/, when the virtual environment that they need is there (third_party/python/venv.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import numpy, onnx, onnxruntime, PIL' 2>/dev/null; then
  echo "SKIPPED: no .venv with numpy, onnx, onnxruntime and pillow (third_party/python/venv.sh makes it)"
  exit 77
fi
for test in tests/bench/*_test.py; do
  .venv/bin/python "$test"
done
