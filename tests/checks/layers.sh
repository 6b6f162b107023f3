#!/usr/bin/env bash
# Dependencies run one way: kernels <- graph <- quant <- engine. The include paths enforce it for "layer/..." names; this
# also catches a relative include, and protobuf outside the importer.
set -uo pipefail
status=0
forbid() { # FOLDER PATTERN WHY
  if git grep -nE "^ *# *include *[\"<]($2)" -- "$1"; then
    echo "  ^ $3" >&2
    status=1
  fi
}
forbid kernels '(graph|quant|engine|bench|tests)/|skyline/(tensor|graph|model|session|skyline|skyline_c)\.h' 'kernels see no graph and no engine'
forbid graph '(kernels|quant|engine|bench|tests)/|skyline/(isa|kernel|session|skyline|skyline_c)\.h|omp\.h' 'graph sees no ISA, no threads, no engine'
forbid quant '(engine|bench|tests)/|skyline/(session|skyline|skyline_c)\.h' 'quant sees no engine'
for folder in kernels graph/ir graph/ops graph/passes graph/include quant engine; do
  forbid $folder 'google/protobuf|.*\.pb\.h' 'protobuf belongs to graph/onnx only'
done
forbid . '\.\./' 'includes are named from the root'
if git grep -nE '\b(getenv|std::cout|std::cerr|printf|exit|abort) *\(' -- kernels graph quant engine/lower engine/optimize engine/runtime engine/capi |
  grep -vE 'engine/runtime/session\.cc:.*getenv|_exit|snprintf|static_assert'; then
  echo "  ^ the library neither prints nor exits; it reads the environment in SessionOptions::from_environment only" >&2
  status=1
fi
exit $status
