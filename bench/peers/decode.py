"""Generation token by token: each run's outputs are the next one's inputs. Skyline beside ONNX Runtime.

    ./run peers-decode [--model NAME...] [--threads 1 2] [--tokens 64] [--turns 5] [--json]

Ours is `skyline decode` (caches that grow in place) and the same with --copies (tensors handed on). ONNX Runtime hands its
OrtValues from run to run through an IO binding, without numpy. The engines take turns; what counts is the median of
the turns' medians per run. GB/s: the bytes of the model's file, which is nearly all weights, read once per run.
Ratios are the peer's time over ours. Exit status: 0, 1 when a model failed, 2 usage.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "eval")]

import command
import numpy as np
import onnxruntime as ort
from models import REPOSITORY, sample_feeds

DECODERS = ["decoder", "stories260k"]


def carried(name):
    """The input that an output is at the next run, by the names that exporters give."""
    for text in ("past_key_values", "past"):
        yield name.replace("present", text, 1)


def run_ort(path, threads, tokens):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]
    feeds = sample_feeds(path.parent, session.get_inputs())
    states = {o: i for o in outputs for i in carried(o) if i != o and i in inputs}
    for i in session.get_inputs():  # of a prompt its first token, as `skyline decode` does
        if i.name not in states.values() and i.type == "tensor(int64)" and len(i.shape) == 2 and not isinstance(i.shape[1], int):
            feeds[i.name] = feeds[i.name][:, :1]
    values = {name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(feeds[name])) for name in inputs}
    seconds = []
    for _ in range(tokens + 1):
        binding = session.io_binding()
        for name in inputs:
            binding.bind_ortvalue_input(name, values[name])
        for name in outputs:
            binding.bind_output(name)
        begin = time.perf_counter()
        session.run_with_iobinding(binding)
        seconds.append(time.perf_counter() - begin)
        for name, value in zip(outputs, binding.get_outputs(), strict=True):
            if name in states:
                values[states[name]] = value
    return statistics.median(seconds[1:]) * 1e3


def run_skyline(binary, path, threads, tokens, *more):
    line = [binary, "decode", path, "--threads", threads, "--tokens", tokens, "--json", *more]
    done = subprocess.run([str(x) for x in line], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def compare(collection, name, threads, options):
    path = collection.path(name)
    times = {"skyline": [], "copies": [], "ort": []}
    for _ in range(options.turns):
        ours = run_skyline(options.binary, path, threads, options.tokens)
        times["skyline"].append(ours["latency_ms"]["p50"])
        copies = run_skyline(options.binary, path, threads, options.tokens, "--copies")
        times["copies"].append(copies["latency_ms"]["p50"])
        times["ort"].append(run_ort(path, threads, options.tokens))
    medians = {engine: statistics.median(values) for engine, values in times.items()}
    return {
        "model": name,
        "threads": threads,
        "ms": medians,
        "treated": ours["treated"],
        "plans": ours["plans"],
        "gb_per_s": path.stat().st_size / medians["skyline"] / 1e6,
        "ratio": medians["ort"] / medians["skyline"],
    }


def main():
    parser = command.parser(__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--built-dir", type=pathlib.Path, default=REPOSITORY / "build" / "bench-models")
    parser.add_argument("--binary", type=pathlib.Path, default=REPOSITORY / "build" / "release" / "skyline")
    options = parser.parse_args()
    collection, names = command.chosen(options, DECODERS)
    results, failed = [], False
    for name in names:
        for threads in options.threads:
            try:
                results.append(compare(collection, name, threads, options))
            except (RuntimeError, OSError) as error:
                command.note(f"{name}: {error}")
                failed = True
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        rows = [
            (
                r["model"],
                f"{r['treated']}, {r['plans']} plan(s)",
                r["threads"],
                *(f"{r['ms'][e]:.3f}" for e in ("skyline", "copies", "ort")),
                f"{r['gb_per_s']:.1f}",
                f"{r['ratio']:.2f}",
            )
            for r in results
        ]
        command.table(rows, ("model", "states", "threads", "ours ms", "copies ms", "ORT ms", "GB/s", "ORT/ours"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
