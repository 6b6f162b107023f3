"""What a step costs beside its kernel: chains of steps on one number, a short and a long one, in turns.

    .venv/bin/python bench/overhead/overhead.py [--engines skyline ort] [--rounds N] [--json]

A step is an Add or Mul of one 64-bit integer by a constant, which no engine merges with the next; nanoseconds a step
are the difference of the two chains' times over that of their lengths. What the smallest kernel takes (a few
nanoseconds) is part of it, the run's own overhead is not: that is shown as the time of the short chain less that of its
steps. Exit status 1 when ours exceeds the bar.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "bench" / part) for part in ("eval", "peers")]

import command
import numpy as np
import onnx
from compare_speed import time_runs
from onnx import TensorProto, helper
from session import open_session

SHORT, LONG = 64, 1088
MOST_NS = 100  # a step


def chain(steps):
    """y = (x + 3) * 5 + 3 ... on an int64[1], as an ONNX model."""
    constant = lambda name, value: helper.make_tensor(name, TensorProto.INT64, [1], [value])
    nodes = [
        helper.make_node(("Add", "Mul")[i % 2], [f"v{i}", ("three", "five")[i % 2]], [f"v{i + 1}"]) for i in range(steps)
    ]
    port = lambda name: helper.make_tensor_value_info(name, TensorProto.INT64, [1])
    graph = helper.make_graph(
        nodes, "chain", [port("v0")], [port(f"v{steps}")], [constant("three", 3), constant("five", 5)]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def measure(engine, folder, rounds, seconds, library=None):
    """Nanoseconds of a step, and of a run without its steps."""
    times = {steps: [] for steps in (SHORT, LONG)}
    feeds = {"v0": np.ones(1, np.int64)}
    for _ in range(rounds):
        for steps in times:
            session = open_session(engine, folder / f"{steps}.onnx", **({"library": library} if engine == "skyline" else {}))
            times[steps].append(time_runs(session.prepare(feeds), seconds)["p50"] * 1e6)
            session.close()
    short, long = (statistics.median(times[steps]) for steps in (SHORT, LONG))
    step = (long - short) / (LONG - SHORT)
    return {"step_ns": step, "run_ns": short - SHORT * step}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["skyline", "ort"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn")
    parser.add_argument("--library", type=pathlib.Path, help="libskyline.so (default: $SKYLINE_LIBRARY, else build/)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for steps in (SHORT, LONG):
            onnx.save(chain(steps), pathlib.Path(folder) / f"{steps}.onnx")
        results = {
            engine: measure(engine, pathlib.Path(folder), options.rounds, options.seconds, options.library)
            for engine in options.engines
        }
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        rows = [(name, "", f"{r['step_ns']:.1f}", f"{r['run_ns']:.0f}") for name, r in results.items()]
        command.table(rows, ["engine", "", "ns a step", "ns a run"])
    ours = results.get("skyline")
    if ours and ours["step_ns"] > MOST_NS:
        command.note(f"a step takes {ours['step_ns']:.0f} ns, at most {MOST_NS}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
