"""The f32 convolutions of a model beside oneDNN's, in turns: each layer as the engine would run it, and their sum.

    ./run build && third_party/python/venv.sh third_party/python/peers.txt
    .venv/bin/python bench/peers/conv.py [MODEL.onnx...] [--threads 1 2] [--rounds 3] [--json]

Without models, ResNet-50 and MobileNetV2 of bench/models. Our side is `bench_pick --chosen`: channels-last
activations, packed weights. oneDNN (the PyPI package onednn-cpu-gomp, through its C API) may choose the layouts of
activations and weights itself; what it costs to get there is not counted. No bias or activation on either side: both
fuse them. A layer that occurs several times is measured once and counted as often.

`ratio` is oneDNN's time over ours: above 1, Skyline is faster.
"""

import argparse
import ctypes
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "bench" / part) for part in ("models", "eval")]

import build
import command

DEFAULTS = ("resnet50", "mobilenetv2")
F32, ANY = 3, 1
FORWARD_INFERENCE, DIRECT = 96, 1
SOURCE_QUERY, WEIGHTS_QUERY, DESTINATION_QUERY, INFO_QUERY = 129, 131, 133, 8
SOURCE, WEIGHTS, DESTINATION = 1, 33, 17
ALLOCATE = ctypes.c_void_p(-1)
RELATED = (SOURCE_QUERY, WEIGHTS_QUERY, DESTINATION_QUERY)


class Argument(ctypes.Structure):
    _fields_ = [("which", ctypes.c_int), ("memory", ctypes.c_void_p)]


def integers(values):
    return (ctypes.c_int64 * 12)(*values)


class OneDnn:
    """Builds convolution primitives; the number of threads is that of the process (OMP_NUM_THREADS)."""

    def __init__(self):
        self.lib = ctypes.CDLL(str(pathlib.Path(sys.prefix) / "lib" / "libdnnl.so.3"))
        self.lib.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
        self.engine, self.stream = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.lib.dnnl_engine_create(ctypes.byref(self.engine), 1, ctypes.c_size_t(0)))
        self.check(self.lib.dnnl_stream_create(ctypes.byref(self.stream), self.engine, 1))

    @staticmethod
    def check(status):
        if status != 0:
            raise RuntimeError(f"oneDNN: status {status}")

    def describe(self, dims):
        md = ctypes.c_void_p()
        self.check(self.lib.dnnl_memory_desc_create_with_tag(ctypes.byref(md), len(dims), integers(dims), F32, ANY))
        return md

    def memory(self, md, size):
        memory, data = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.lib.dnnl_memory_create(ctypes.byref(memory), md, self.engine, ALLOCATE))
        self.check(self.lib.dnnl_memory_get_data_handle(memory, ctypes.byref(data)))
        values = numpy.ctypeslib.as_array(ctypes.cast(data, ctypes.POINTER(ctypes.c_float)), (size,))
        values[:] = numpy.random.default_rng(1).standard_normal(size, numpy.float32)  # denormals would take 100 times as long
        return memory

    def convolution(self, p):
        """A function that runs it once, and the name of the implementation."""
        groups, ic, oc = p["groups"], p["ic"], p["oc"]
        kernel, stride, dilation = p["kernel"][1:], p["stride"][1:], [d - 1 for d in p["dilation"][1:]]
        begin, end = p["pad_begin"][1:], p["pad_end"][1:]
        extents = [
            (i + b + e - (k - 1) * (d + 1) - 1) // s + 1
            for i, b, e, k, d, s in zip(p["in"][1:], begin, end, kernel, dilation, stride, strict=True)
        ]
        weights = [oc, ic, *kernel] if groups == 1 else [groups, oc // groups, ic // groups, *kernel]
        shapes = [[p["n"], ic, *p["in"][1:]], weights, [p["n"], oc, *extents]]
        described, pd = [self.describe(shape) for shape in shapes], ctypes.c_void_p()
        self.check(
            self.lib.dnnl_convolution_forward_primitive_desc_create(
                ctypes.byref(pd), self.engine, FORWARD_INFERENCE, DIRECT, described[0], described[1], None,
                described[2], *(integers(v) for v in (stride, dilation, begin, end)), None,
            )
        )  # fmt: skip
        about, primitive = ctypes.c_char_p(), ctypes.c_void_p()
        self.lib.dnnl_primitive_desc_query(pd, INFO_QUERY, 0, ctypes.byref(about))
        self.check(self.lib.dnnl_primitive_create(ctypes.byref(primitive), pd))
        self.lib.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        arguments = (Argument * 3)()
        for i, (which, query) in enumerate(zip((SOURCE, WEIGHTS, DESTINATION), RELATED, strict=True)):
            md = ctypes.c_void_p(self.lib.dnnl_primitive_desc_query_md(pd, query, 0))
            arguments[i] = Argument(which, self.memory(md, self.lib.dnnl_memory_desc_get_size(md) // 4))

        def run():
            self.lib.dnnl_primitive_execute(primitive, self.stream, 3, arguments)
            self.lib.dnnl_stream_wait(self.stream)

        return run, about.value.decode()


def least_ms(run, seconds):
    run()
    begin = time.perf_counter()
    run()
    once = time.perf_counter() - begin
    runs = max(1, int(seconds / once))
    best = once
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(runs):
            run()
        best = min(best, (time.perf_counter() - begin) / runs)
    return best * 1e3


def ours(options, model):
    arguments = [model, "--chosen", "--json", "--threads", str(options.threads), "--seconds", str(options.seconds)]
    child = subprocess.run([options.pick, *arguments], capture_output=True, text=True)
    if child.returncode != 0:
        raise RuntimeError(child.stderr.strip())
    return [row for row in json.loads(child.stdout)[0]["problems"] if "conv" in row]


def measure(options, model):
    """Rows of (name, count, our ms, their ms, names), from rounds in turn."""
    dnn, primitives, rows = OneDnn(), {}, {}
    for _ in range(options.rounds):
        for row in ours(options, model):
            entry = rows.setdefault(row["problem"], {**row, "ours": [], "onednn": []})
            entry["ours"].append(row["ms"])
        for name, entry in rows.items():
            if name not in primitives:
                primitives[name] = dnn.convolution(entry["conv"])
            entry["onednn"].append(least_ms(primitives[name][0], options.seconds))
    return [
        {
            "problem": name,
            "count": entry["count"],
            "ms": statistics.median(entry["ours"]),
            "onednn_ms": statistics.median(entry["onednn"]),
            "chosen": entry["chosen"],
            "onednn": primitives[name][1],
        }
        for name, entry in rows.items()
    ]


def show(model, threads, rows):
    total = {key: sum(row[key] * row["count"] for row in rows) for key in ("ms", "onednn_ms")}
    print(f"{model}, {threads} thread(s): {sum(row['count'] for row in rows)} convolutions, ours {total['ms']:.3f} ms, "
          f"oneDNN {total['onednn_ms']:.3f} ms, ratio {total['onednn_ms'] / total['ms']:.2f}")  # fmt: skip
    command.table(
        [
            (r["problem"], r["chosen"], r["count"], f"{r['ms']:.4f}", f"{r['onednn_ms']:.4f}",
             f"{r['onednn_ms'] / r['ms']:.2f}", r["onednn"])
            for r in rows
        ],
        ["convolution", "ours by", "count", "ours ms", "oneDNN ms", "ratio", "oneDNN by"],
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="ONNX files (default: ResNet-50 and MobileNetV2)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.003, help="of a turn of one convolution")
    parser.add_argument("--pick", default=str(ROOT / "build/release/bench_pick"), help="the program bench_pick")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    models = options.models or [str(build.build(name, build.DEFAULT_OUTPUT) / "model.onnx") for name in DEFAULTS]
    if options.child:
        options.threads = options.threads[0]
        # The same CPUs for both sides: CPUs of one machine may differ in speed, and a parent keeps its own.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads :])
        print(json.dumps(measure(options, models[0])), flush=True)
        os._exit(0)

    results = []
    for model in models:
        for threads in options.threads:  # oneDNN's threads are fixed when it starts
            arguments = [sys.executable, *sys.argv[:1], model, "--child", "--threads", str(threads), "--pick", options.pick]
            arguments += ["--rounds", str(options.rounds), "--seconds", str(options.seconds)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            child = subprocess.run(arguments, capture_output=True, text=True, env=environment)
            if child.returncode != 0:
                command.note(f"{model}: {child.stderr.strip().splitlines()[-1]}")
                return 1
            results.append({"model": model, "threads": threads, "convolutions": json.loads(child.stdout)})
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        for r in results:
            show(r["model"], r["threads"], r["convolutions"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
