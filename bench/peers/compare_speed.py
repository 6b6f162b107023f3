"""Measures speed, load time and memory of every model in Skyline and in its peers, side by side.

    ./run peers [--model NAME...] [--threads 1 2] [--engines skyline ort openvino ncnn] [--footprint] [--json]

or, where the packages are there: .venv/bin/python bench/peers/compare_speed.py. The models are those of
$SKYLINE_MODELS and those that bench/models has built. Inputs are test_data_set_0, else the first seeded case of
bench/eval/inputs.py.

All engines run in one process. They take turns and are never active at once: every turn opens a session, runs for the
given time, and closes the session, because threads of some engines spin between runs. The order of the turns
changes. What counts is the median of the turns' medians. Every run goes through the engine's shortest path from
Python: prepared arguments through ctypes for Skyline, an IO binding for ONNX Runtime, bound tensors for OpenVINO, an
extractor for ncnn. These cost some microseconds of Python that no model needs; nothing is subtracted. With
--via-command our side is measured by `skyline bench` instead, without any Python.

On f32 models an engine whose outputs differ from ONNX Runtime's (graph optimisation off) by more than a thousandth of
their scale is excluded: a wrong answer is not a fast one. Quantized models are only timed. With --precision our side
and OpenVINO (where it knows the rung) compute in it, and the bound follows the rung; ONNX Runtime has no such choice
and computes as the file says.

--footprint also measures load time and peak memory, each engine in a process of its own (footprint.py).
--merge shows the results of several earlier runs with --json together.

Ratios are the peer's time over ours: above 1, Skyline is faster. Exit status: 0, 1 when a model failed (with --check:
or a bar of summary.py is not met), 2 usage.
"""

import gc
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "eval")]

import command
import inputs
import models
import numpy as np
import summary
from compare_ort import read_kind
from session import MODULES, EngineError, EngineUnavailable, open_session

# Of the scale of an output, by rung: roundings of 8 or 11 bits add up over layers.
LARGEST_ERROR = {"bf16": 0.15, "f16": 0.02}
LARGEST_F32_ERROR = 1e-3


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


def engine_options(options, engine, feeds):
    if engine == "skyline":
        return command.engine_options(options, engine, isa=options.isa, precision=options.precision)
    if engine == "ort":
        return {}
    shapes = {name: array.shape for name, array in feeds.items()}
    return {"shapes": shapes} | ({"precision": options.precision} if engine == "openvino" else {})


def turn(engine, path, feeds, threads, options):
    """Statistics of one turn of one engine."""
    if engine == "skyline" and options.via_command:
        return bench_command(path, threads, options)
    session = open_session(engine, path, threads, **engine_options(options, engine, feeds))
    try:
        return time_runs(session.prepare(feeds), options.seconds)
    finally:
        session.close()
        gc.collect()


def bench_command(path, threads, options):
    arguments = ["bench", str(path), "--threads", str(threads), "--duration", str(options.seconds), "--json"]
    if options.isa:
        arguments += ["--isa", options.isa]
    if options.precision:
        arguments += ["--precision", options.precision]
    child = subprocess.run([str(options.command), *arguments], capture_output=True, text=True)
    if child.returncode != 0:
        raise EngineError(f"skyline bench: exit status {child.returncode}: {child.stderr.strip()[-300:]}")
    return json.loads(child.stdout)["latency_ms"]


def disagreement(found, expected):
    """The largest difference relative to the scale of its output; infinite for another shape or a NaN."""
    worst = 0.0
    for name, b in expected.items():
        a, b = np.asarray(found[name]), np.asarray(b)
        if a.size != b.size or b.dtype.kind != "f" or not b.size:
            worst = worst if a.size == b.size else float("inf")
            continue
        error = np.abs(a.ravel().astype(np.float64) - b.ravel())
        scale = float(np.abs(b).max()) or 1.0
        worst = max(worst, float(error.max()) / scale if np.isfinite(error).all() else float("inf"))
    return worst


def reasons_against(options, path, feeds, kind):
    """Engine -> why it cannot be compared on this model."""
    reasons = {}
    expected = None
    if not options.unchecked:
        reference = open_session("ort", path, 1, optimize=False)
        expected = reference.run(feeds)
        reference.close()
    for engine in options.engines:
        if engine == "ncnn" and kind != "f32":
            reasons[engine] = "quantized"
            continue
        try:
            session = open_session(engine, path, options.threads[0], **engine_options(options, engine, feeds))
            error = disagreement(session.run(feeds), expected) if expected else 0
            session.close()
        except Exception as failure:  # what a peer cannot run is no reason to stop
            reasons[engine] = (str(failure).splitlines() or [repr(failure)])[0][:200]
            continue
        if kind == "f32" and not error <= LARGEST_ERROR.get(options.precision, LARGEST_F32_ERROR):
            reasons[engine] = f"its outputs differ by {error:.1e} of their scale"
    if "skyline" in reasons:
        raise EngineError(reasons["skyline"])
    return reasons


def footprints(options, path, feeds, engines):
    """Medians over the rounds, the engines in turn."""
    found = {engine: [] for engine in engines}
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file.name, **feeds)
        base = [sys.executable, str(HERE / "footprint.py"), "--path", str(path), "--feeds", file.name]
        if options.library:
            base += ["--library", str(options.library)]
        for _ in range(options.rounds):
            for engine in engines:
                command_line = [*base, "--engine", engine, "--threads", str(options.threads[0])]
                child = subprocess.run(command_line, capture_output=True, text=True, timeout=options.timeout)
                if child.returncode == 0:
                    found[engine].append(json.loads(child.stdout.splitlines()[-1]))
    return {
        engine: {field: statistics.median(row[field] for row in rows) for field in rows[0]}
        if rows
        else {"error": "no measurement"}
        for engine, rows in found.items()
    }


def measure(options, name):
    """One model at every number of threads."""
    collection = models.Collection(options.models_dir, options.built_dir)
    path = collection.path(name)
    probe = open_session("ort", path, optimize=False)
    feeds = make_feeds(collection.folder(name), name, probe.inputs)
    probe.close()
    del probe
    results = {"kind": read_kind(path)[0], "threads": {}}
    results["excluded"] = reasons_against(options, path, feeds, results["kind"])
    gc.collect()
    engines = [engine for engine in options.engines if engine not in results["excluded"]]
    for threads in [] if options.footprint_only else options.threads:
        turns = {engine: [] for engine in engines}
        for i in range(options.rounds):
            shift = i % len(engines)
            for engine in engines[shift:] + engines[:shift]:
                turns[engine].append(turn(engine, path, feeds, threads, options))
        medians = {engine: statistics.median(t["p50"] for t in each) for engine, each in turns.items()}
        results["threads"][str(threads)] = {"p50_ms": medians, "turns": turns}
    if options.footprint or options.footprint_only:
        results["footprint"] = footprints(options, path, feeds, engines)
    return results


def merge(files):
    """The models of several results; what a later file adds to a model is added."""
    machine, merged = None, {}
    for file in files:
        content = json.loads(file.read_text())
        machine = machine or content["machine"]
        for name, result in content["models"].items():
            if name not in merged or "error" in merged[name]:
                merged[name] = result
            elif "error" not in result:
                merged[name]["threads"] |= result["threads"]
                merged[name].setdefault("footprint", {}).update(result.get("footprint", {}))
    return machine, merged


def parse():
    parser = command.parser(__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3, help="turns of each engine (default 3)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn (default 0.5)")
    parser.add_argument("--engines", nargs="+", choices=tuple(MODULES), default=["skyline", "ort"])
    parser.add_argument("--isa", help="caps the instruction set of our side")
    parser.add_argument("--precision", help="the rung of our side and of OpenVINO: bf16x6, bf16x3, bf16 or f16")
    parser.add_argument("--via-command", action="store_true", help="measure our side with `skyline bench`")
    parser.add_argument("--command", type=pathlib.Path, default=models.REPOSITORY / "build/release/skyline")
    parser.add_argument("--built-dir", type=pathlib.Path, default=models.REPOSITORY / "build/bench-models")
    parser.add_argument("--unchecked", action="store_true", help="do not compare the outputs before measuring")
    parser.add_argument("--footprint", action="store_true", help="load time and memory too")
    parser.add_argument("--footprint-only", action="store_true", help="only load time and memory")
    parser.add_argument("--check", action="store_true", help="fail when a bar is not met")
    parser.add_argument("--merge", nargs="+", type=pathlib.Path, metavar="FILE", help="show earlier results together")
    return parser.parse_args()


def main():
    options = parse()
    if options.child:
        print(json.dumps(measure(options, options.child)), flush=True)
        os._exit(0)  # the engines' own exit handlers are not what is measured, and some crash

    machine = {"cores": len(os.sched_getaffinity(0)), "load_average_at_start": os.getloadavg()[0]}
    results = {}
    if options.merge:
        machine, results = merge(options.merge)
    else:
        if machine["load_average_at_start"] > 0.5:
            command.note(f"the machine is busy (load average {machine['load_average_at_start']:.1f}): expect noise")
        _, names = command.chosen(options, None)
        for name, result in command.run_children(options, names):
            results[name] = result
            command.note(f"{name}: {'failed' if 'error' in result else 'done'}")
    means = summary.summarise(results)
    bars = [*summary.speed_bars(results, means), *summary.footprint_bars(results)]
    if options.json:
        below = [str(bar) for bar in bars if not bar.passed]
        print(json.dumps({"machine": machine, "summary": means, "below_bar": below, "models": results}, indent=1))
    else:
        seen = {e for r in results.values() for t in r.get("threads", {}).values() for e in t["p50_ms"]}
        seen |= {e for r in results.values() for e in r.get("footprint", {})}
        summary.show(results, means, bars, [engine for engine in MODULES if engine in seen])
    failed = any("error" in result for result in results.values())
    return 1 if failed or (options.check and not all(bar.passed for bar in bars)) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (EngineError, EngineUnavailable) as error:
        command.note(str(error))
        sys.exit(1)
