#!/usr/bin/env bash
# The search from outside: killed at any moment, the frontier file is whole and --resume goes on; every combination of
# constraints ends with a point that meets them or with status 4. Usage: tests/cli/search.sh path/to/skyline
set -uo pipefail
skyline=${1:?usage: search.sh SKYLINE}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
model=$root/tests/data/digits/model.onnx
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
  echo "FAILED: $*"
  failed=$((failed + 1))
}

mkdir "$work/rows"
python3 - "$root/tests/data/digits" "$work/rows" <<'PY' || fail 'no rows'
import ast, struct, sys
from pathlib import Path

def read(path):
    raw = Path(path).read_bytes()
    n = struct.unpack("<H", raw[8:10])[0]
    return ast.literal_eval(raw[10 : 10 + n].decode())["shape"], raw[10 + n :]

def write(path, descr, shape, data):
    head = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    head += b" " * ((-len(head) - 11) % 64) + b"\n"
    Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data)

source, target = sys.argv[1:]
shape, pixels = read(f"{source}/test_images.npy")
n = 200
each = len(pixels) // shape[0]
write(f"{target}/images.npy", "<f4", (n, 1, 16, 16), struct.pack(f"<{n * each}f", *(p / 255 for p in pixels[: n * each])))
# Each tenth label is wrong: no plan reaches all of the accuracy.
_, labels = read(f"{source}/test_labels.npy")
write(f"{target}/labels.npy", "<i8", (n,), struct.pack(f"<{n}q", *((l + (i % 10 == 0)) % 10 for i, l in enumerate(labels[:n]))))
PY

search() {
  timeout 60 "$skyline" optimize "$model" --data "$work/rows" --threads 1 --costs "$work/costs.json" "$@"
}

# Killed: what is there can be read, and the search goes on from it.
for moment in 0.2 0.5 0.8 1.1 1.4 1.7 2.0 2.3; do
  "$skyline" optimize "$model" --data "$work/rows" --threads 1 --costs "$work/costs.json" --budget 3s --resume \
    -o "$work/killed.json" >"$work/out" 2>&1 &
  victim=$!
  sleep "$moment"
  kill -KILL "$victim" 2>/dev/null
  wait "$victim" 2>/dev/null
  if [ -e "$work/killed.json" ]; then
    "$skyline" frontier show "$work/killed.json" >"$work/out" 2>&1 || fail "after $moment s: $(head -n 1 "$work/out")"
  fi
done
search --budget 2s --resume -o "$work/killed.json" >"$work/out" 2>"$work/err" || fail "resumed: $(head -n 2 "$work/err")"
grep -q 'cost table.*measured anew' "$work/err" && fail 'a killed search tore the cost table'
"$skyline" frontier show "$work/killed.json" >"$work/shown"
grep -q f32 "$work/shown" || fail 'the resumed frontier has no f32'

# A cost table that is damaged is refused by name, and the search goes on without it.
echo '{"schema": "skyline.costs"' >"$work/costs.json"
search --budget 1s >"$work/out" 2>"$work/err" || fail 'a damaged cost table ends the search'
grep -q "costs.json' is not a table of costs, or is damaged" "$work/err" || fail "no word of the damaged table: $(cat "$work/err")"

# Constraints in all combinations: each loose (l) or out of reach (t), or not there (-).
declare -A latency=([l]='latency.p99<=1s' [t]='latency.p99<=1ns') throughput=([l]='throughput>=10/s' [t]='throughput>=1000000000/s')
declare -A accuracy=([l]='accuracy.drop<=20pp' [t]='accuracy>=99.9%')
for a in - l t; do
  for b in - l t; do
    for c in - l t; do
      constraints=()
      [ $a = - ] || constraints+=(--constraint "${latency[$a]}")
      [ $b = - ] || constraints+=(--constraint "${throughput[$b]}")
      [ $c = - ] || constraints+=(--constraint "${accuracy[$c]}")
      search --budget 0.6s "${constraints[@]}" --maximize throughput --json >"$work/out" 2>"$work/err"
      status=$?
      case $a$b$c in *t*) wanted=4 ;; *) wanted=0 ;; esac
      [ $status -eq $wanted ] || fail "${constraints[*]}: status $status, not $wanted: $(head -n 2 "$work/err")"
      python3 - "$work/out" "$a$b$c" <<'PY' || fail "${constraints[*]}: the result does not bear it out"
import json, sys
r, kinds = json.load(open(sys.argv[1])), sys.argv[2].replace("-", "")
assert r["point"] in [p["id"] for p in r["frontier"]["points"]]
assert [c["met"] for c in r["constraints"]] == [k == "l" for k in kinds], r["constraints"]
assert r["feasible"] == ("t" not in kinds) and r["explanation"], r["explanation"]
PY
    done
  done
done

# What cannot be asked is said before anything is searched, and points at the place.
refused() {
  local words=$1
  shift
  search --budget 1s -o "$work/refused.json" "$@" >"$work/out" 2>"$work/err"
  local status=$?
  [ $status -eq 2 ] || fail "$*: status $status, not 2"
  grep -q -- "$words" "$work/err" || fail "$*: no word of '$words': $(head -n 3 "$work/err")"
  [ ! -e "$work/refused.json" ] || fail "$*: a frontier was written"
}
for c in 'latency.p99<=5' 'throughput>=5' 'accuracy.drop<=1'; do refused 'unit' --constraint "$c"; done
refused 'write one of ns, us, ms or s' --constraint 'latency.p99<=5 parsecs'
refused 'write <=' --constraint 'latency.p99<>5ms'
refused 'known are' --constraint 'speed<=5ms'
refused 'write 800/s' --constraint 'throughput>=many/s'
refused 'write one of' --constraint ''
refused 'contradict' --constraint 'latency.p99<=1ms' --constraint 'latency.p99>=2ms'
refused 'contradict' --constraint 'accuracy>=90%' --constraint 'accuracy<=80%'
refused 'contradict' --constraint 'throughput>=100/s, throughput<=50/s'

# Of one that is in reach and one that is not, the one that is not binds.
for bad in latency throughput accuracy; do
  constraints=()
  for axis in latency throughput accuracy; do
    declare -n bounds=$axis
    kind=l
    [ $axis = $bad ] && kind=t
    constraints+=(--constraint "${bounds[$kind]}")
  done
  search --budget 0.6s "${constraints[@]}" --json >"$work/out" 2>"$work/err"
  [ $? -eq 4 ] || fail "only $bad out of reach: not status 4"
  grep -q "\"explanation\": \"No point meets $bad" "$work/out" ||
    fail "only $bad out of reach: $(grep explanation "$work/out")"
done

[ "$failed" -eq 0 ] && echo 'search: all passed'
[ "$failed" -eq 0 ]
