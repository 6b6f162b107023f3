"""Measures the speed of every model in Skyline and in ONNX Runtime, side by side.

    third_party/python/venv.sh
    .venv/bin/python bench/peers/compare_speed.py [--model NAME...] [--threads 1 2] [--via-command]

Both engines run with their default settings, from the same process, on the same inputs (test_data_set_0, else the
first seeded case of bench/eval/inputs.py). They take turns and are never active at once: every turn opens a
session, runs for the given time, and closes the session, because ONNX Runtime's threads spin between runs. The order
of the turns alternates. What counts is the median of the turns' medians.

A run goes through each engine's shortest path from Python: prepared arguments through ctypes for Skyline, an IO
binding for ONNX Runtime. Both paths cost some microseconds of Python that no model needs; nothing is subtracted.
The column `ort.run` is the ordinary InferenceSession.run with a prepared feed, which also copies the outputs into
numpy arrays. With --via-command our side is measured by `skyline bench` instead, without any Python.

`ratio` is ONNX Runtime's time over ours: above 1, Skyline is faster. Exit status: 0, 1 when a model failed, 2 usage.
"""

import gc
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "eval"))

import command
import inputs
import models
from compare_ort import read_kind
from session import EngineError, EngineUnavailable, open_session

TINY_MS = 1.0  # below this in ONNX Runtime on one thread, a model counts as tiny


def make_feeds(folder, name, ports):
    feeds = models.sample_feeds(folder, ports)
    return feeds if feeds is not None else next(inputs.random_feeds(name, ports, seed=1))[1]


def time_runs(run, seconds, least=5):
    """Statistics in ms of repeated calls, after a warm-up of a tenth of the time."""
    now = time.perf_counter_ns
    end = now() + int(seconds * 1e8)
    run()
    while now() < end:
        run()
    times = []
    gc.disable()
    end = now() + int(seconds * 1e9)
    while True:
        begin = now()
        run()
        done = now()
        times.append(done - begin)
        if done >= end and len(times) >= least:
            break
    gc.enable()
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(share * len(times)))] / 1e6
    return {"min": at(0), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "n": len(times)}


def turn(engine, path, feeds, threads, options):
    """One turn of one engine: name of the column -> statistics."""
    if engine == "skyline" and options.via_command:
        return {"skyline": bench_command(path, threads, options)}
    session = open_session(engine, path, threads, **command.engine_options(options, engine))
    try:
        results = {engine: time_runs(session.prepare(feeds), options.seconds)}
        if engine == "ort":
            results["ort.run"] = time_runs(lambda: session.run(feeds), options.seconds / 2)
        return results
    finally:
        session.close()
        gc.collect()


def bench_command(path, threads, options):
    arguments = ["bench", str(path), "--threads", str(threads), "--duration", str(options.seconds), "--json"]
    child = subprocess.run([str(options.command), *arguments], capture_output=True, text=True)
    if child.returncode != 0:
        raise EngineError(f"skyline bench: exit status {child.returncode}: {child.stderr.strip()[-300:]}")
    return json.loads(child.stdout)["latency_ms"]


def measure(options, name):
    """One model at every number of threads."""
    collection = models.Collection(options.models_dir)
    path = collection.path(name)
    probe = open_session("ort", path)
    feeds = make_feeds(collection.folder(name), name, probe.inputs)
    probe.close()
    del probe
    gc.collect()
    results = {"kind": read_kind(path)[0], "threads": {}}
    for threads in options.threads:
        turns = {}
        for i in range(options.rounds):
            order = ("skyline", "ort") if i % 2 == 0 else ("ort", "skyline")
            for engine in order:
                if engine in options.engines:
                    for column, statistic in turn(engine, path, feeds, threads, options).items():
                        turns.setdefault(column, []).append(statistic)
        row = {column: statistics.median(t["p50"] for t in each) for column, each in turns.items()}
        ratio = row["ort"] / row["skyline"] if "ort" in row and "skyline" in row else None
        results["threads"][str(threads)] = {"p50_ms": row, "ratio": ratio, "turns": turns}
    return results


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


def summarise(results, threads):
    """Geometric means of the ratios: over the f32 models, over the others, and the worst of the tiny models."""
    good = {name: r for name, r in results.items() if "error" not in r}
    summary = {}
    for t in map(str, threads):
        ratios = {name: r["threads"][t]["ratio"] for name, r in good.items() if r["threads"][t]["ratio"]}
        tiny = {n: x for n, x in ratios.items() if good[n]["threads"][str(threads[0])]["p50_ms"]["ort"] < TINY_MS}
        summary[t] = {
            "geometric_mean_f32": geometric_mean([x for n, x in ratios.items() if good[n]["kind"] == "f32"]),
            "geometric_mean_int8": geometric_mean([x for n, x in ratios.items() if good[n]["kind"] != "f32"]),
            "slowest_tiny": min(tiny.items(), key=lambda item: item[1], default=None),
        }
    return summary


def show(results, summary, threads):
    def number(value, form="{:.3f}"):
        return "-" if value is None else form.format(value)

    rows = []
    for name, result in results.items():
        if "error" in result:
            rows.append((name, "-", "-", "-", "-", "-", f"FAILED: {result['error']}"))
            continue
        for t in threads:
            row = result["threads"][str(t)]
            columns = [number(row["p50_ms"].get(c), "{:.4f}") for c in ("skyline", "ort", "ort.run")]
            rows.append((name, result["kind"], t, *columns, number(row["ratio"], "{:.2f}")))
    command.table(rows, ["model", "kind", "threads", "skyline ms", "ort ms", "ort.run ms", "ratio"])
    for t in threads:
        s = summary[str(t)]
        print(f"{t} thread(s): geometric mean of the ratio, f32 {number(s['geometric_mean_f32'], '{:.2f}')}, "
              f"int8 {number(s['geometric_mean_int8'], '{:.2f}')}", end="")
        print(f"; slowest tiny model {s['slowest_tiny'][0]} {s['slowest_tiny'][1]:.2f}" if s["slowest_tiny"] else "")


def main():
    parser = command.parser(__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3, help="turns of each engine (default 3)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn (default 0.5)")
    parser.add_argument("--engines", nargs="+", choices=("skyline", "ort"), default=["skyline", "ort"])
    parser.add_argument("--via-command", action="store_true", help="measure our side with `skyline bench`")
    parser.add_argument("--command", type=pathlib.Path, default=models.REPOSITORY / "build/release/skyline")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options, options.child)))
        return 0

    machine = {"cores": len(os.sched_getaffinity(0)), "load_average_at_start": os.getloadavg()[0]}
    if machine["load_average_at_start"] > 0.5:
        command.note(f"the machine is busy (load average {machine['load_average_at_start']:.1f}): expect noise")
    _, names = command.chosen(options, None)
    results = {}
    for name, result in command.run_children(options, names):
        results[name] = result
        command.note(f"{name}: {'failed' if 'error' in result else 'done'}")
    summary = summarise(results, options.threads)
    if options.json:
        print(json.dumps({"machine": machine, "summary": summary, "models": results}, indent=1))
    else:
        show(results, summary, options.threads)
    return 1 if any("error" in result for result in results.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (EngineError, EngineUnavailable) as error:
        command.note(str(error))
        sys.exit(1)
