#!/usr/bin/env python3
"""Loading a plan file beside loading the ONNX file that it was made of: time and memory, in processes of their own.

    ./run load [--models NAME...] [--repeat 7] [--threads 1] [--json] [--check]

For each model of $SKYLINE_MODELS and of bench/models, `skyline compile` writes a plan file; then `skyline bench` loads
the model and the plan in turns. `load` is the time from the file to a session with everything in place for the first run
(its checks of the whole file included), the median of the turns; files are in the page cache. `rss` is the peak resident
memory of the process, one short run included; pages of a plan file belong to it, too, but are shared between processes.

--check: exit status 1 unless every plan loads at least 5 times as fast as its model.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BAR = 5


def find_models(wanted):
    given = pathlib.Path(os.environ.get("SKYLINE_MODELS", ROOT.parent / "shared" / "models")) / "models"
    built = pathlib.Path(os.environ.get("SKYLINE_BENCH_MODELS", ROOT / "build" / "bench-models"))
    found = sorted(given.glob("*/*.onnx")) + sorted(built.glob("*/model.onnx"))
    return [f for f in found if not wanted or f.parent.name in wanted]


def bench(skyline, threads, *source):
    command = [skyline, "bench", *map(str, source), "--json", "--duration", "0.01", "--warmup", "0"]
    out = subprocess.run(command + ["--threads", str(threads)], capture_output=True, text=True, check=True)
    result = json.loads(out.stdout)
    return result["load_ms"], result["peak_rss_mb"]


def measure(skyline, model, args, folder):
    plan = pathlib.Path(folder) / "model.plan"
    if (model.parent / "test_data_set_0").is_dir():  # both take their inputs from beside them
        (pathlib.Path(folder) / "test_data_set_0").symlink_to((model.parent / "test_data_set_0").resolve())
    compiled = subprocess.run(
        [skyline, "compile", str(model), "-o", str(plan), "--threads", str(args.threads), "--json"],
        capture_output=True, text=True, check=True)
    rows = {"onnx": [], "plan": []}
    for turn in range(args.repeat):
        pair = [("onnx", (model,)), ("plan", ("--plan", plan))]
        for kind, source in pair if turn % 2 else pair[::-1]:
            rows[kind].append(bench(skyline, args.threads, *source))
    load = {kind: statistics.median(ms for ms, _ in runs) for kind, runs in rows.items()}
    rss = {kind: statistics.median(mb for _, mb in runs) for kind, runs in rows.items()}
    return {"model": model.parent.name, "onnx_mb": model.stat().st_size / 1e6,
            "plan_mb": json.loads(compiled.stdout)["bytes"] / 1e6, "onnx_load_ms": load["onnx"],
            "plan_load_ms": load["plan"], "times_faster": load["onnx"] / load["plan"], "onnx_rss_mb": rss["onnx"],
            "plan_rss_mb": rss["plan"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skyline", default=str(ROOT / "build" / "release" / "skyline"))
    parser.add_argument("--models", nargs="+", default=[])
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    models = find_models(args.models)
    if not models:
        sys.exit("no models: set $SKYLINE_MODELS, or run ./run models")
    results = []
    if not args.json:
        print(f"{'model':<26} {'onnx MB':>8} {'plan MB':>8} {'onnx ms':>9} {'plan ms':>9} {'times':>6} {'rss onnx':>9} {'plan':>7}")
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(args.skyline, model, args, folder)
        results.append(row)
        if not args.json:
            print("{model:<26} {onnx_mb:8.1f} {plan_mb:8.1f} {onnx_load_ms:9.2f} {plan_load_ms:9.2f} {times_faster:6.1f} "
                  "{onnx_rss_mb:9.1f} {plan_rss_mb:7.1f}".format(**row), flush=True)
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        print(f"\nloads in the geometric mean {statistics.geometric_mean(r['times_faster'] for r in results):.1f} times as fast")
    slow = [r["model"] for r in results if r["times_faster"] < BAR]
    if args.check and slow:
        sys.exit(f"below {BAR} times: {', '.join(slow)}")


if __name__ == "__main__":
    main()
