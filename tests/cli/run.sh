#!/usr/bin/env bash
# The command from outside: exit statuses, one line on stderr, files. Usage: tests/cli/run.sh path/to/skyline
set -uo pipefail
skyline=${1:?usage: run.sh SKYLINE}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
model=$root/tests/data/digits/model.onnx
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
export XDG_CACHE_HOME=$work/cache  # the search's table of costs

# expect STATUS PATTERN ARGS...: the exit status, a pattern on stderr ("" for none), at most a few lines there, no signal, no hang.
expect() {
  local status=$1 pattern=$2
  shift 2
  timeout 60 "$skyline" "$@" >"$work/out" 2>"$work/err" </dev/null
  local got=$?
  if [ "$got" -ne "$status" ]; then
    echo "FAILED: skyline $* -> $got instead of $status: $(head -n 2 "$work/err")"
    failed=$((failed + 1))
  elif [ -n "$pattern" ] && ! grep -qE -- "$pattern" "$work/err"; then
    echo "FAILED: skyline $*: stderr has no '$pattern': $(head -n 2 "$work/err")"
    failed=$((failed + 1))
  else
    passed=$((passed + 1))
  fi
}
# json KEY...: the last output is one JSON object with these keys.
json() {
  if python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); sys.exit(any(k not in d for k in sys.argv[2:]))' "$work/out" "$@"; then
    passed=$((passed + 1))
  else
    echo "FAILED: output is not JSON with: $*"
    failed=$((failed + 1))
  fi
}

expect 2 'subcommand' # nothing to do
expect 0 '' --help
expect 0 '' --version
expect 2 '' nonsense
expect 2 '' bench
for flag in '--threads -1' '--threads 1000000' '--threads x' '--duration -1' '--batch 0' '--precision f5' '--isa avx9000' '--nonsense'; do
  # shellcheck disable=SC2086
  expect 2 '' bench "$model" $flag
done
expect 5 'IO' bench "$work/missing.onnx"
expect 5 'IO' inspect "$work"
mkfifo "$work/fifo" && expect 5 '' inspect "$work/fifo"
expect 5 '' inspect /dev/zero
: >"$work/empty.onnx" && expect 3 'PARSE|INVALID' inspect "$work/empty.onnx"
head -c 4096 /dev/zero >"$work/zero.onnx" && expect 3 'PARSE|INVALID' inspect "$work/zero.onnx"
echo 'this is text, not a model' >"$work/text.onnx" && expect 3 'PARSE|INVALID' inspect "$work/text.onnx"
truncate -s 10G "$work/sparse.onnx" && expect 3 'LIMIT' inspect "$work/sparse.onnx"
head -c 3000 "$model" >"$work/cut.onnx" && expect 3 'PARSE|INVALID' inspect "$work/cut.onnx"

python3 - "$work" <<'PY'
import struct, sys
w = sys.argv[1]
def npy(name, descr, shape, data, fortran=False, magic=b"\x93NUMPY", version=b"\x01\x00"):
    h = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode()
    h += b" " * (63 - (10 + len(h)) % 64) + b"\n"
    open(f"{w}/{name}.npy", "wb").write(magic + version + struct.pack("<H", len(h)) + h + data)
npy("good", "<f4", (1, 1, 16, 16), bytes(1024))
npy("magic", "<f4", (1, 1, 16, 16), bytes(1024), magic=b"\x93NUMPX")
npy("fortran", "<f4", (1, 1, 16, 16), bytes(1024), fortran=True)
npy("object", "|O", (1, 1, 16, 16), bytes(1024))
npy("huge", "<f4", (1 << 40, 1 << 40), bytes(16))
npy("short", "<f4", (1, 1, 16, 16), bytes(1000))
npy("wrong_shape", "<f4", (1, 1, 8, 8), bytes(256))
npy("wrong_type", "<f8", (1, 1, 16, 16), bytes(2048))
open(f"{w}/bad.pb", "wb").write(b"\xff" * 40)
open(f"{w}/cut.npy", "wb").write(b"\x93NUMPY\x01\x00\xff\xff{")
PY
expect 0 '' run "$model" --input "images=$work/good.npy" --output-dir "$work/results"
[ -f "$work/results/probabilities.npy" ] || { echo 'FAILED: no output file'; failed=$((failed + 1)); }
expect 0 '' run "$model" --input "images=$work/good.npy" --output-dir "$work/results" --format pb
for bad in magic fortran object huge short wrong_shape wrong_type cut; do
  expect 5 'INPUT' run "$model" --input "images=$work/$bad.npy"
done
expect 5 'PARSE|INVALID|INPUT' run "$model" --input "images=$work/bad.pb"
expect 5 "images" run "$model"
expect 5 'no input' run "$model" --input "other=$work/good.npy"
expect 5 'twice' run "$model" --input "images=$work/good.npy" --input "images=$work/good.npy"
expect 2 'NAME=FILE' run "$model" --input "$work/good.npy"
touch "$work/file" && expect 5 'IO' run "$model" --input "images=$work/good.npy" --output-dir "$work/file/below"
timeout 60 "$skyline" inspect "$model" >/dev/full 2>"$work/err"
[ $? -eq 5 ] && passed=$((passed + 1)) || { echo 'FAILED: a full stdout is not status 5'; failed=$((failed + 1)); }
timeout 60 "$skyline" inspect "$model" >&- 2>"$work/err"
[ $? -eq 5 ] && passed=$((passed + 1)) || { echo 'FAILED: a closed stdout is not status 5'; failed=$((failed + 1)); }

expect 0 '' inspect "$model" --json && json inputs outputs ops nodes parameters
expect 0 '' inspect "$model" --dot "$work/graph.dot"
expect 0 '' inspect "$model" --text --optimized
expect 0 '' inspect "$model" --stop-after 2 --json && json rewrites
python3 -c 'import json,sys; r=json.load(open(sys.argv[1]))["rewrites"]; assert r["count"] == 2 == len(r["applied"]) == sum(r["passes"].values()), r' \
  "$work/out" && passed=$((passed + 1)) || failed=$((failed + 1))
expect 0 '' inspect "$model" --stop-after 1
grep -q '^ *1 [a-z-]* at ' "$work/out" && passed=$((passed + 1)) || { echo 'FAILED: --stop-after names no rewrite'; failed=$((failed + 1)); }
expect 0 '' bench "$model" --duration 0.1 --threads 1 --json && json latency_ms throughput_per_s load_ms peak_rss_mb threads batch precision isa model machine
expect 0 '' bench "$model" --duration 0.1 --batch 3
expect 0 '' bench "$model" --duration 0.1 --warmup 0 --scenario offline --streams 2 --batch 8 --json && json latency_interval_ms throughput_interval_per_s streams result
expect 0 '' bench "$model" --duration 0.1 --warmup 0 --scenario server --qps 300 --batch 4 --max-delay 1ms --json && json server latency_ms result
python3 -c 'import json,sys; s=json.load(open(sys.argv[1]))["server"]; assert s["requests_per_s"] == 300 and s["seed"] == 1, s' "$work/out" &&
  passed=$((passed + 1)) || failed=$((failed + 1))
expect 0 '' bench "$model" --duration 0.05 --warmup 0 --scenario server --p99 500ms --streams 2 --batch 4 --json && json server
expect 4 '' bench "$model" --duration 0.05 --warmup 0 --scenario server --p99 1ns --json && json server
for flags in '--scenario server' '--qps 5' '--p99 5ms' '--scenario server --p99 5' '--scenario server --qps 5 --p99 5ms' '--scenario offline --qps 5' \
  '--streams 0' '--streams 1000' '--scenario nonsense' '--scenario server --qps -1' '--scenario server --qps 10 --max-delay 3'; do
  # shellcheck disable=SC2086
  expect 2 '' bench "$model" $flags
done
expect 0 '' profile "$model" --runs 2 --trace "$work/trace.json" --json && json steps total_us machine memory
python3 -c 'import json,sys; assert json.load(open(sys.argv[1]))["traceEvents"]' "$work/trace.json" && passed=$((passed + 1)) || failed=$((failed + 1))
expect 0 '' verify "$root/tests/data/digits" --json --rtol 1e-3 --atol 1e-5 && json total passed wrong unsupported crashed not_passed
expect 5 '' verify "$work/results"
expect 0 '' kernels list --json
expect 0 '' kernels check softmax --isa sse2
expect 0 '' kernels bench softmax_sse2 --seconds 0.001 --json
expect 2 'no kernel' kernels check nonsense
expect 2 '' kernels bench --isa nonsense
expect 0 '' demo --budget 2 --json && json accuracy_percent latency_us_p50 throughput_per_s frontier chosen
python3 -c 'import json,sys; assert json.load(open(sys.argv[1]))["accuracy_percent"] > 98' "$work/out" && passed=$((passed + 1)) || failed=$((failed + 1))

# A model in lower precision: from rows of arrays, loose or in an archive, and with the report apart.
python3 - "$work" "$root/tests/data/digits" <<'PY'
import array, ast, os, struct, sys, zipfile
w, digits = sys.argv[1:]
def read(name):
    b = open(f"{digits}/{name}.npy", "rb").read()
    n = 10 + struct.unpack("<H", b[8:10])[0]
    return ast.literal_eval(b[10:n].decode())["shape"], b[n:]
def npy(descr, shape, data):
    h = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    h += b" " * (63 - (10 + len(h)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h + data
shape, pixels = read("calibration_images")
images = npy("<f4", shape, array.array("f", (x / 255 for x in pixels)).tobytes())
lshape, l = read("calibration_labels")
labels = npy("|u1", lshape, l)
os.makedirs(f"{w}/rows"), os.makedirs(f"{w}/none")
for name, data in ("images", images), ("labels", labels):
    open(f"{w}/rows/{name}.npy", "wb").write(data)
for name, method in ("stored", zipfile.ZIP_STORED), ("packed", zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(f"{w}/{name}.npz", "w", method) as z:
        z.writestr("images.npy", images), z.writestr("labels.npy", labels)
PY
expect 0 '' quantize "$model" --calibration "$work/rows" --metric top1 -o "$work/int8.onnx" --json && json nodes calibration seed report machine
python3 -c 'import json,sys; r=json.load(open(sys.argv[1]))["report"]; assert r["int8"] > r["f32"] - 0.02, r' "$work/out" &&
  passed=$((passed + 1)) || { echo 'FAILED: accuracy of int8'; failed=$((failed + 1)); }
for method in minmax percentile entropy; do
  expect 0 '' quantize "$model" --calibration "$work/stored.npz" --method $method --examples 5 -o "$work/int8.onnx"
done
expect 0 '' run "$work/int8.onnx" --input "images=$work/good.npy"
# The search: a plan that meets constraints, what nothing meets, what cannot be asked.
expect 0 '' optimize "$model" --data "$work/rows" --budget 2s --constraint 'accuracy.drop<=3pp' --minimize latency \
  -o "$work/search.json" --report "$work/search.html" --plan "$work/search.plan.json" --json &&
  json feasible point constraints unseen frontier
grep -q '</html>' "$work/search.html" && passed=$((passed + 1)) || { echo 'FAILED: no report'; failed=$((failed + 1)); }
expect 0 '' bench "$model" --plan "$work/search.plan.json" --duration 0.05 --json
expect 0 '' optimize "$model" --data "$work/rows" --budget 1s -o "$work/search.json" --resume
expect 0 '' frontier show "$work/search.json"
expect 4 '' optimize "$model" --data "$work/rows" --budget 1s --constraint 'latency.p99<=1ns' --json && json explanation point
expect 2 'unit' optimize "$model" --data "$work/rows" --constraint 'latency<=5'
expect 2 'budget' optimize "$model" --data "$work/rows" --budget 5
expect 2 'top1' optimize "$model" --data "$work/rows" --metric best
expect 2 'known' optimize "$model" --data "$work/rows" --rungs int3
expect 2 '' optimize "$model"
expect 5 '' optimize "$model" --data "$work/nowhere"
expect 5 'another model' optimize "$work/int8.onnx" --data "$work/rows" --budget 1s -o "$work/search.json" --resume
for precision in f16 bf16; do
  expect 0 '' quantize "$model" --calibration "$work/rows" --precision $precision --metric top1 -o "$work/half.onnx" --json
  python3 -c 'import json,sys; r=json.load(open(sys.argv[1]))["report"]; assert r[sys.argv[2]] > r["f32"] - 0.01, r' "$work/out" $precision &&
    passed=$((passed + 1)) || { echo "FAILED: accuracy of $precision"; failed=$((failed + 1)); }
done
expect 0 '' sensitivity "$model" --data "$work/rows" --metric top1 --examples 2 --rounds 1 --json && json nodes calibration examples seed machine
expect 0 '' sensitivity "$model" --data "$work/rows" --examples 1 --rounds 1 --no-others --rungs int8 bf16
expect 2 'rung' sensitivity "$model" --data "$work/rows" --rungs int3
expect 2 'metric' sensitivity "$model" --data "$work/rows" --metric best
expect 2 'method' quantize "$model" --calibration "$work/rows" --method best -o "$work/x.onnx"
expect 2 '' quantize "$model" --calibration "$work/rows" --precision int3 -o "$work/x.onnx"
expect 2 'required' quantize "$model" --calibration "$work/rows"
expect 3 'nobody' quantize "$model" --calibration "$work/rows" --keep nobody -o "$work/x.onnx"
expect 5 'INPUT' quantize "$model" --calibration "$work/packed.npz" -o "$work/x.onnx"
expect 5 'no examples' quantize "$model" --calibration "$work/none" -o "$work/x.onnx"
expect 5 'IO' quantize "$model" --calibration "$work/missing" -o "$work/x.onnx"
expect 5 'IO' quantize "$model" --calibration "$work/rows" -o "$work/missing/x.onnx"
# Options of the quantizer, and files that need no calibration.
for options in '--equalize weights' '--equalize activations' '--adaround --seed 3' '--keep Gemm' '--sqnr 0'; do
  # shellcheck disable=SC2086
  expect 0 '' quantize "$model" --calibration "$work/rows" --examples 8 $options -o "$work/int8.onnx"
done
expect 2 'equalization' quantize "$model" --calibration "$work/rows" --equalize best -o "$work/x.onnx"
for options in '--weights-only' '--weights-only --bits 4' '--weights-only --bits 8 --block 16' '--dynamic' '--dynamic token'; do
  # shellcheck disable=SC2086
  expect 0 '' quantize "$model" $options -o "$work/plain.onnx"
  expect 0 '' run "$work/plain.onnx" --input "images=$work/good.npy"
done
expect 0 '' quantize "$model" --weights-only --calibration "$work/rows" --metric top1 -o "$work/plain.onnx" --json && json report nodes
expect 2 'bits' quantize "$model" --weights-only --bits 3 -o "$work/x.onnx"
expect 2 'weights-only' quantize "$model" --calibration "$work/rows" --bits 4 -o "$work/x.onnx"
expect 2 'calibration' quantize "$model" --dynamic --metric top1 -o "$work/x.onnx"
expect 2 'dynamic' quantize "$model" --weights-only --dynamic -o "$work/x.onnx"
# Numbers that nothing can be computed with: the message names the node, or the scale.
python3 - "$work" "$root/tests/corpus" <<'PY'
import os, sys
work = sys.argv[1]
sys.path.insert(0, sys.argv[2])
from onnx_file import FLOAT, INT8, UINT8, Tensor, graph, model, node
def write(name, nodes, constants, x=(FLOAT, [1, 1, 4, 4])):
    with open(f"{work}/{name}.onnx", "wb") as f:
        f.write(model(graph(nodes, [("x", *x)], ["y"], constants)))
for name, value in ("nan", float("nan")), ("inf", float("inf")):
    write(name, [node("Conv", ["x", "w"], ["y"])], {"w": Tensor(FLOAT, [1, 1, 2, 2], [1.0, value, 1.0, 1.0])})
conv = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "v"], ["y"])]
zero, one = Tensor(UINT8, [], 0), Tensor(FLOAT, [], 1.0)
for name, scale in ("zero", 0.0), ("negative", -1.0), ("undefined", float("nan")):
    write(f"scale_{name}", conv, {"s": Tensor(FLOAT, [], scale), "z": zero, "v": zero})
write("zeros_type", conv, {"s": one, "z": zero, "v": Tensor(INT8, [], 0)})
write("zeros_count", conv, {"s": one, "z": zero, "v": Tensor(UINT8, [3], 0)})
os.makedirs(f"{work}/squares")
import struct
h = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 4, 4)}".ljust(117) + b"\n"
with open(f"{work}/squares/x.npy", "wb") as f:
    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h + struct.pack("<32f", *range(32)))
with open(f"{work}/one.npy", "wb") as f:
    h = h.replace(b"(2, 1", b"(1, 1")
    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h + struct.pack("<16f", *range(16)))
PY
expect 3 'the_Conv.*NaN|NaN.*the_Conv' quantize "$work/nan.onnx" --calibration "$work/squares" -o "$work/x.onnx"
expect 3 'the_Conv.*infinity|infinity.*the_Conv' quantize "$work/inf.onnx" --calibration "$work/squares" -o "$work/x.onnx"
for precision in f16 bf16; do
  expect 3 'NaN' quantize "$work/nan.onnx" --calibration "$work/squares" --precision $precision -o "$work/x.onnx"
done
for scale in zero negative undefined; do
  expect 3 'scale.*above 0' run "$work/scale_$scale.onnx" --input "x=$work/one.npy"
  expect 3 'scale.*above 0' quantize "$work/scale_$scale.onnx" --calibration "$work/squares" -o "$work/x.onnx"
done
expect 3 'dtypes u8 and i8' run "$work/zeros_type.onnx" --input "x=$work/one.npy"
expect 3 'zero point' run "$work/zeros_count.onnx" --input "x=$work/one.npy"
# Frontiers: made up by a script, looked at and chosen from by the command.
frontier=$work/m.frontier.json
python3 "$root/tests/cli/synthetic_frontier.py" "$frontier"
python3 "$root/tests/cli/synthetic_frontier.py" "$work/other.frontier.json" --seed 6
python3 "$root/tests/cli/synthetic_frontier.py" "$work/foreign.frontier.json" --machine cpus=64
matches() { # PATTERN: in the last output
  if grep -qE -- "$1" "$work/out"; then passed=$((passed + 1)); else
    echo "FAILED: output has no '$1'"
    failed=$((failed + 1))
  fi
}
expect 0 'measured on another machine' frontier show "$frontier" && matches '^\* +f32 +8.40 ms' && matches 'frontier .* dominated'
expect 0 '' frontier show "$frontier" --json && json points frontier knee hypervolume machine metric data seed
python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert sorted(d["frontier"]) == sorted(p["id"] for p in d["points"] if p["state"] == "measured"), d["frontier"]' "$work/out" &&
  passed=$((passed + 1)) || { echo 'FAILED: the frontier is not the measured points'; failed=$((failed + 1)); }
expect 0 '' frontier show "$frontier" --csv && matches '^"f32",measured'
expect 0 '' frontier select "$frontier" --constraint 'accuracy.drop<=1pp' --minimize latency -o "$work/m.plan.json" && matches 'met +accuracy.drop<=1pp'
[ -f "$work/m.plan.json" ] && passed=$((passed + 1)) || { echo 'FAILED: no plan'; failed=$((failed + 1)); }
expect 0 '' frontier select "$frontier" --constraint 'latency.p99<=12ms, throughput>=100/s' --maximize accuracy --json && json feasible point constraints binding explanation machine
expect 4 'no plan written' frontier select "$frontier" --constraint 'latency.p99<=10us' --maximize accuracy -o "$work/none.plan.json" && matches 'No point meets latency.p99<=10us'
[ ! -e "$work/none.plan.json" ] && passed=$((passed + 1)) || { echo 'FAILED: a plan of an infeasible selection'; failed=$((failed + 1)); }
expect 4 '' frontier select "$frontier" --constraint 'latency.p99<=10us' --maximize accuracy --json && json feasible binding
expect 2 'unit is missing' frontier select "$frontier" --constraint 'latency.p99<=5' --maximize accuracy
expect 2 'contradict' frontier select "$frontier" --constraint 'latency<=1ms, latency>=5ms' --maximize accuracy
expect 2 'not a quantity' frontier select "$frontier" --minimize speed
expect 2 'minimize and --maximize' frontier select "$frontier"
expect 2 'write minimize latency' frontier select "$frontier" --maximize latency
expect 0 'wrote' frontier plot "$frontier" --report "$work/report.html" --constraint 'accuracy.drop<=1pp' --minimize latency
grep -q '</html>' "$work/report.html" && passed=$((passed + 1)) || { echo 'FAILED: no report'; failed=$((failed + 1)); }
expect 0 '' frontier plot "$frontier" --report "$work/report.html" --point p3 --json && json report points selected
expect 5 "no point 'p99'" frontier plot "$frontier" --report "$work/report.html" --point p99
expect 5 'IO' frontier plot "$frontier" --report "$work/file/below.html"
expect 2 'report' frontier plot "$frontier"
expect 0 '' explain "$work/m.plan.json" && matches 'classifier.gemm +Gemm' && matches 'stays|saves|takes'
expect 0 '' explain "$frontier" f32 --json && json id choices measured
expect 0 '' frontier explain "$frontier"
expect 5 "no point 'x'" explain "$frontier" x
expect 0 '' diff "$frontier" f32 p1 && matches 'nodes differ'
expect 0 '' diff "$work/m.plan.json" "$work/m.plan.json" && matches 'computed the same way'
expect 0 '' frontier diff "$frontier" f32 p1 --json && json a b nodes
expect 0 '' frontier merge "$frontier" "$work/other.frontier.json" -o "$work/all.frontier.json" --json && json points
expect 5 'cpus is .64. there' frontier merge "$frontier" "$work/foreign.frontier.json" -o "$work/all.frontier.json"
expect 5 'IO' frontier show "$work/nothing.json"
expect 5 'IO' frontier show "$work/fifo"
expect 3 'PARSE' frontier show "$model"
# A plan is for one model, and says how it runs.
python3 - "$model" "$work" <<'PY'
import hashlib, json, sys
plan = {"schema": "skyline.plan", "version": 1, "machine": {"cpu": "x"},
        "model": {"file": "model.onnx", "sha1": hashlib.sha1(open(sys.argv[1], "rb").read()).hexdigest()},
        "points": [{"id": "p", "precision": "f32", "batch": 4, "streams": 2, "threads": 1, "layouts": "channels_last"}]}
json.dump(plan, open(f"{sys.argv[2]}/digits.plan.json", "w"))
PY
# A plan file runs without its model; one that is broken or for other circumstances is refused, or made again.
plan=$work/digits.plan
expect 0 'packed weights' compile "$model" -o "$plan" --threads 1
expect 0 '' compile "$model" -o "$plan" --threads 1 --batch 1 --batch 3 --json && json bytes packed_bytes threads machine
expect 0 '' bench --plan "$plan" --duration 0.05 --json && json latency_ms load_ms plan
expect 0 '' run --plan "$plan" --input "images=$work/good.npy" --output-dir "$work/from_plan"
expect 0 '' run "$model" --input "images=$work/good.npy" --output-dir "$work/from_model" --threads 1
diff -r "$work/from_plan" "$work/from_model" && passed=$((passed + 1)) || { echo 'FAILED: a plan computes other bits'; failed=$((failed + 1)); }
expect 0 '' profile --plan "$plan" --runs 2 --steps && matches 'Conv'
expect 0 '' profile --plan "$plan" --runs 2 --json && json steps memory
expect 0 '' explain "$plan" && matches 'model'
expect 0 '' diff "$plan" "$plan"
expect 3 'for 1 threads, not 2' bench --plan "$plan" --threads 2
expect 0 'rebuilt from' bench "$model" --plan "$plan" --threads 2 --duration 0.05
expect 5 'for another model' bench "$work/int8.onnx" --plan "$plan"
expect 2 'choice for an ONNX file' bench --plan "$work/digits.plan.json"
expect 2 'model' bench
head -c 9000 "$plan" >"$work/cut.plan"
expect 3 'should be .* bytes long' bench --plan "$work/cut.plan"
cp "$plan" "$work/changed.plan" && printf 'x' | dd of="$work/changed.plan" bs=1 seek=1000 conv=notrunc status=none
expect 3 'has changed' run --plan "$work/changed.plan"
expect 5 'IO' bench --plan "$work/nothing.plan"
expect 5 'IO' compile "$model" -o "$work/missing/x.plan"
expect 3 'no-optimize' compile "$model" -o "$work/x.plan" --no-optimize
expect 0 '' compile "$model" -o "$work/x.plan" --choice "$work/search.plan.json" && expect 0 '' explain "$work/x.plan" && matches 'Conv|Gemm'
expect 0 '' frontier select "$work/search.json" --minimize latency --model "$model" -o "$work/y.plan"
expect 0 '' bench --plan "$work/y.plan" --duration 0.05
expect 2 'needs --model' frontier select "$work/search.json" --minimize latency -o "$work/y.plan"
expect 0 'another machine' bench "$model" --plan "$work/digits.plan.json" --duration 0.05 --json && json plan
python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); assert (d["batch"], d["streams"], d["threads"]) == (4, 2, 1), d' "$work/out" &&
  passed=$((passed + 1)) || failed=$((failed + 1))
expect 5 'for another model' bench "$model" --plan "$work/m.plan.json"
expect 5 'not one plan' bench "$model" --plan "$frontier"
expect 3 'INVALID' frontier show "$work/trace.json"
echo '{"schema": "skyline.frontier", "version": 1, "points": [{"id": "a", "streams": 0}]}' >"$work/bad.json" && expect 3 'points.0..streams' frontier show "$work/bad.json"
echo '{"schema": "skyline.frontier", "version": 1, "points": []}' >"$work/none.json" && expect 0 '' frontier show "$work/none.json"
expect 5 'no points' frontier select "$work/none.json" --minimize latency

echo "cli: $passed passed, $failed failed"
[ $failed -eq 0 ]
