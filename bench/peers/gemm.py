"""GEMM beside ONNX Runtime (MLAS), oneDNN and OpenBLAS, in turns, with the machine's ceiling in the same run.

    third_party/python/venv.sh third_party/python/peers.txt
    ninja -C build/release skyline_peers_gemm
    .venv/bin/python bench/peers/gemm.py [--shapes 512x512x512 ...] [--threads 1 2] [--isa avx2] [--json FILE]

Shapes are MxNxK. B is a constant that every library but OpenBLAS packs once, ahead of time. Engines take turns of
--seconds; between turns there is a pause in which threads that spin go to sleep. Each number is the median over the
rounds of a turn's median; the ratio to the best peer is the median of the rounds' ratios. A product by ONNX Runtime goes through an IO binding from Python; what a product of one
element costs in the same way is subtracted, the session's own overhead included.

--types says what A, B and C are: bf16 (C is f32), bf16bf16, u8s8s32, u8s8u8 (a scale per column), f16 (C is f16), f16f32;
the ceiling is then that of tile products on registers only (of f16: the f32 loop). ONNX Runtime and OpenBLAS take f32 only.
--rungs adds our products of the same f32 operands in other arithmetic: bf16x6, bf16x3, bf16, f16.

Threads are bounded by the affinity mask, so each number of threads runs in a process of its own. --isa avx2 caps oneDNN and
OpenBLAS too; ONNX Runtime cannot be capped and is left out. --ours NAME=FILE adds another build of ours.
The answers of all engines are compared with each other: a wrong one is an error, not a fast one.
"""

import argparse
import ctypes
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPES = ["256x256x256", "512x512x512", "1024x1024x1024", "2048x2048x2048", "1x4096x4096", "128x768x768",
          "128x3072x768", "128x768x3072", "3136x64x576"]
MOST_CALLS = 1 << 16
PAUSE = 0.01  # seconds; OpenMP's threads spin for some milliseconds
WAKE = 0.002  # seconds before a turn on several threads: a virtual CPU that slept comes back after up to a millisecond


F16, BF16, F32, S32, S8, U8 = "f16", "bf16", "f32", "s32", "s8", "u8"
ONNX_TYPE = {F32: 1, U8: 2, S8: 3, S32: 6, F16: 10, BF16: 16}
DNNL_TYPE = {F16: 1, BF16: 2, F32: 3, S32: 4, S8: 5, U8: 6}
NUMPY_TYPE = {F32: "float32", U8: "uint8", S8: "int8", S32: "int32", F16: "float16", BF16: "uint16"}
TYPES = {"f32": (F32, F32, F32), "bf16": (BF16, BF16, F32), "bf16bf16": (BF16, BF16, BF16), "u8s8s32": (U8, S8, S32),
         "u8s8u8": (U8, S8, U8), "f16": (F16, F16, F16), "f16f32": (F16, F16, F32)}
# Of the largest element of C; of u8 that is two steps, which rounding sums in f32 may differ by.
ALLOWED = {"f32": 1e-4, "bf16x6": 1e-4, "bf16x3": 1e-4, "bf16": 2e-2, "f16": 1e-2, "bf16bf16": 2e-2, "u8s8s32": 0, "u8s8u8": 1e-2,
           "f16f32": 1e-2}


def aligned(np, shape, type=F32):
    """An uninitialized array on a cache line. bf16 numbers are the high halves of f32."""
    dtype = np.dtype(NUMPY_TYPE[type])
    count = math.prod(shape)
    raw = np.empty(count * dtype.itemsize + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip:skip + count * dtype.itemsize].view(dtype).reshape(shape)


def operand(np, random, shape, type):
    """Random numbers as stored, and their values."""
    stored = aligned(np, shape, type)
    if type in (U8, S8):
        stored[:] = random.integers(0, 256, shape) if type == U8 else random.integers(-128, 128, shape)
        return stored, stored.astype(np.float64)
    values = random.standard_normal(shape).astype(np.float32)
    if type == BF16:
        stored[:] = (values.view(np.uint32) + 0x8000) >> 16
    else:
        stored[:] = values
    return stored, values_of(np, stored, type).astype(np.float64)


def values_of(np, stored, type):
    return (stored.astype(np.uint32) << 16).view(np.float32) if type == BF16 else stored


class Ours:
    def __init__(self, native, shape, isa, threads, types, a, b, c, scale, precision="f32"):
        self.native, why = native, ctypes.create_string_buffer(256)
        native.gemm_open.restype = ctypes.c_void_p
        native.gemm_kernel.restype = ctypes.c_char_p
        numbers = (ctypes.c_int * 3)(*(ONNX_TYPE[t] for t in types))
        self.handle = native.gemm_open(*(ctypes.c_int64(x) for x in (1, *shape)), 4, numbers, precision.encode(), isa.encode(),
                                       threads, *(ctypes.c_void_p(x.ctypes.data) for x in (a, b, c, scale)), why)
        if not self.handle:
            raise RuntimeError(why.value.decode())
        self.about = native.gemm_kernel(ctypes.c_void_p(self.handle)).decode()

    def time(self, seconds, times):
        return self.native.gemm_time(ctypes.c_void_p(self.handle), ctypes.c_int64(int(seconds * 1e9)),
                                     ctypes.c_int64(MOST_CALLS), times)

    def close(self):
        self.native.gemm_close(ctypes.c_void_p(self.handle))


class OneDnn:
    """Through its C API. Weights are reordered once to the layout that the primitive asks for."""
    ANY, AB, A, CPU, WEIGHTS_QUERY, INFO_QUERY = 1, 3, 2, 1, 131, 8
    SRC, WEIGHTS, DST, SCALES, PER_COLUMN = 1, 33, 17, 4096, 2

    class Argument(ctypes.Structure):
        _fields_ = [("arg", ctypes.c_int), ("memory", ctypes.c_void_p)]

    library = None

    @classmethod
    def load(cls):
        if cls.library is None:
            cls.library = ctypes.CDLL(str(pathlib.Path(sys.prefix) / "lib/libdnnl.so.3"))
            cls.engine, cls.stream = ctypes.c_void_p(), ctypes.c_void_p()
            cls.check(cls.library.dnnl_engine_create(ctypes.byref(cls.engine), cls.CPU, ctypes.c_size_t(0)))
            cls.check(cls.library.dnnl_stream_create(ctypes.byref(cls.stream), cls.engine, 1))
        return cls.library

    @staticmethod
    def check(status):
        if status != 0:
            raise RuntimeError(f"oneDNN: status {status}")

    def describe(self, dims, type, tag):
        md = ctypes.c_void_p()
        self.check(self.lib.dnnl_memory_desc_create_with_tag(
            ctypes.byref(md), len(dims), (ctypes.c_int64 * 12)(*dims), DNNL_TYPE[type], tag))
        return md

    def memory(self, md, data):
        memory = ctypes.c_void_p()
        self.check(self.lib.dnnl_memory_create(ctypes.byref(memory), md, self.engine, ctypes.c_void_p(data)))
        return memory

    def primitive(self, pd):
        primitive = ctypes.c_void_p()
        self.check(self.lib.dnnl_primitive_create(ctypes.byref(primitive), pd))
        return primitive

    def __init__(self, native, shape, isa, threads, types, a, b, c, scale):
        self.native, self.lib = native, self.load()
        m, n, k = shape
        src, plain, dst = (self.describe(dims, type, self.AB) for dims, type in zip(((m, k), (k, n), (m, n)), types))
        pd, attributes = ctypes.c_void_p(), ctypes.c_void_p()
        scaled = types[2] == U8
        if scaled:
            self.check(self.lib.dnnl_primitive_attr_create(ctypes.byref(attributes)))
            self.check(self.lib.dnnl_primitive_attr_set_scales_mask(attributes, self.WEIGHTS, self.PER_COLUMN))
        self.check(self.lib.dnnl_matmul_primitive_desc_create(ctypes.byref(pd), self.engine, src,
                                                             self.describe((k, n), types[1], self.ANY), None, dst,
                                                             attributes))
        self.lib.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
        packed = ctypes.c_void_p(self.lib.dnnl_primitive_desc_query_md(pd, self.WEIGHTS_QUERY, 0))
        about = ctypes.c_char_p()
        self.lib.dnnl_primitive_desc_query(pd, self.INFO_QUERY, 0, ctypes.byref(about))
        self.about = about.value.decode()
        weights = self.memory(packed, -1)  # allocated by the library
        reorder = ctypes.c_void_p()
        self.check(self.lib.dnnl_reorder_primitive_desc_create(ctypes.byref(reorder), plain, self.engine, packed,
                                                              self.engine, None))
        from_to = (self.Argument * 2)((self.SRC, self.memory(plain, b.ctypes.data)), (self.DST, weights))
        self.check(self.lib.dnnl_primitive_execute(self.primitive(reorder), self.stream, 2, from_to))
        self.check(self.lib.dnnl_stream_wait(self.stream))
        arguments = [(self.SRC, self.memory(src, a.ctypes.data)), (self.WEIGHTS, weights),
                     (self.DST, self.memory(dst, c.ctypes.data))]
        if scaled:
            scales = self.memory(self.describe((n,), F32, self.A), scale.ctypes.data)
            arguments.append((self.SCALES | self.WEIGHTS, scales))
        self.arguments = (self.Argument * len(arguments))(*arguments)
        self.matmul, self.weights = self.primitive(pd), weights

    def time(self, seconds, times):
        return self.native.time_call4(ctypes.cast(self.lib.dnnl_primitive_execute, ctypes.c_void_p), self.matmul,
                                      self.stream, ctypes.c_int64(len(self.arguments)), self.arguments,
                                      ctypes.c_int64(int(seconds * 1e9)), ctypes.c_int64(MOST_CALLS), times)

    def close(self):
        self.lib.dnnl_primitive_destroy(self.matmul)
        self.lib.dnnl_memory_destroy(self.weights)


class OpenBlas:
    """The copy inside numpy."""

    def __init__(self, native, shape, isa, threads, types, a, b, c, scale):
        import numpy as np
        self.native, self.shape, self.arrays = native, shape, (a, b, c)
        [path] = (pathlib.Path(np.__file__).parents[1] / "numpy.libs").glob("libscipy_openblas64_*")
        self.lib = ctypes.CDLL(str(path))
        self.lib.scipy_openblas_set_num_threads64_(threads)
        self.lib.scipy_openblas_get_config64_.restype = ctypes.c_char_p
        self.about = self.lib.scipy_openblas_get_config64_().decode()

    def time(self, seconds, times):
        return self.native.time_sgemm(ctypes.cast(self.lib.scipy_cblas_sgemm64_, ctypes.c_void_p),
                                      *(ctypes.c_int64(x) for x in self.shape), 0, 0,
                                      *(ctypes.c_void_p(x.ctypes.data) for x in self.arrays),
                                      ctypes.c_int64(int(seconds * 1e9)), ctypes.c_int64(MOST_CALLS), times)

    def close(self):
        pass


class OnnxRuntime:
    overhead = {}

    @staticmethod
    def bind(threads, a, b, c):
        import onnx
        import onnxruntime
        tensor = onnx.helper.make_tensor_value_info
        b_proto = onnx.numpy_helper.from_array(b, "b")
        graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["a", "b"], ["c"])], "gemm",
                                       [tensor("a", 1, a.shape)], [tensor("c", 1, c.shape)], [b_proto])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_input("a", "cpu", 0, a.dtype, a.shape, a.ctypes.data)
        binding.bind_output("c", "cpu", 0, c.dtype, c.shape, c.ctypes.data)
        inner, raw = session._sess, binding._iobinding
        return (lambda: inner.run_with_iobinding(raw, None)), (session, binding)

    @staticmethod
    def laps(run, seconds, times):
        now, count = time.perf_counter_ns, 0
        begin = now()
        end = begin + int(seconds * 1e9)
        while count < MOST_CALLS and (count < 3 or begin < end):
            run()
            done = now()
            times[count] = done - begin
            begin, count = done, count + 1
        return count

    def __init__(self, native, shape, isa, threads, types, a, b, c, scale):
        import numpy as np
        import onnxruntime
        self.about = "ONNX Runtime " + onnxruntime.__version__
        if threads not in self.overhead:
            one = np.ones((1, 1), np.float32)
            run, keep = self.bind(threads, one, one, one.copy())
            laps = (ctypes.c_int64 * MOST_CALLS)()
            count = self.laps(run, 0.1, laps)
            self.overhead[threads] = statistics.median(laps[:count])
        self.parts, self.kept = (threads, a, b, c), None
        self.less = self.overhead[threads]

    def time(self, seconds, times):
        run, keep = self.kept or self.bind(*self.parts)
        if self.parts[0] == 1:
            self.kept = run, keep
        else:  # a session of this turn only: its threads spin for as long as it lives
            self.laps(run, WAKE, times)
        count = self.laps(run, seconds, times)
        for i in range(count):
            times[i] = max(1, times[i] - int(self.less))
        return count

    def close(self):
        pass


ENGINES = {"ort": OnnxRuntime, "onednn": OneDnn, "openblas": OpenBlas}


def measure_shape(options, libraries, text, threads):
    import numpy as np
    m, n, k = shape = tuple(map(int, text.split("x")))
    random = np.random.default_rng(1)
    types = TYPES[options.types]
    (a, a_values), (b, b_values) = operand(np, random, (m, k), types[0]), operand(np, random, (k, n), types[1])
    want = a_values @ b_values
    scale = aligned(np, (n,))
    scale[:] = 200 / np.abs(want).max() * random.uniform(0.5, 1, n)
    if types[2] == U8:
        want = np.clip(np.rint(want * scale), 0, 255)
    engines, results = {}, {}

    def add(name, library, kind, *more):
        results[name] = aligned(np, (m, n), types[2])
        results[name][:] = 7
        engines[name] = kind(library, shape, options.isa, threads, types, a, b, results[name], scale, *more)

    native = libraries["ours"]
    for name, library in libraries.items():
        add(name, library, Ours)
    for rung in options.rungs:
        add(rung, native, Ours, rung)
    for name in options.engines:
        add(name, native, ENGINES[name])
    times = (ctypes.c_int64 * MOST_CALLS)()
    medians, ceilings = {name: [] for name in engines}, []
    native.gemm_ceiling.restype = ctypes.c_double
    for i in range(options.rounds + 1):
        for name in (list(engines) if i % 2 else list(engines)[::-1]):
            if threads > 1:
                time.sleep(PAUSE)
                engines[name].time(WAKE, times)
            count = engines[name].time(options.seconds if i else options.seconds / 4, times)
            if i:  # the first round warms up
                medians[name].append(min(times[:count]) if options.best else statistics.median(times[:count]))
        if i % 8 == 0:
            ceilings.append(native.gemm_ceiling(options.isa.encode(), ONNX_TYPE[types[0]], threads, ctypes.c_int64(3_000_000)))
    for name, c in results.items():
        error = np.abs(values_of(np, c, types[2]) - want).max() / np.abs(want).max()
        if not error <= ALLOWED[name if name in options.rungs else options.types]:
            raise SystemExit(f"{name} is wrong at {text}: relative error {error}")
    flops = 2.0 * m * n * k
    middle = min if options.best else statistics.median
    row = {name: flops / middle(each) for name, each in medians.items()}
    about = {name: engine.about for name, engine in engines.items()}
    for engine in engines.values():
        engine.close()
    # Turn by turn, so that a machine whose speed drifts slows both sides of a ratio.
    ratios = {name: statistics.median(theirs / ours for theirs, ours in zip(medians[name], medians["ours"]))
              for name in medians if name != "ours"}
    return {"gflops": row, "ratios": ratios, "ceiling": max(ceilings), "about": about}


def measure(options, threads):
    """All shapes at one number of threads, in this process."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[-threads:])
    libraries = {"ours": ctypes.CDLL(str(options.library))}
    for extra in options.ours:
        name, path = extra.split("=", 1)
        libraries[name] = ctypes.CDLL(str(pathlib.Path(path).resolve()))
    rows = {}
    for shape in options.shapes:
        rows[shape] = measure_shape(options, libraries, shape, threads)
        if options.verbose:
            print(threads, shape, rows[shape]["gflops"], file=sys.stderr, flush=True)
    return rows


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def show(results, names, rungs):
    peers = [n for n in names if n in ENGINES]
    print(f"{'shape':18}{'T':>2}" + "".join(f"{n:>10}" for n in names) + f"{'ceiling':>10}{'share':>7}{'ratio':>7}")
    for threads, rows in results.items():
        ratios = []
        for shape, row in rows.items():
            speed = row["gflops"]
            ratio = min((row["ratios"][p] for p in peers if p != "openblas"), default=float("nan"))
            ratios.append(ratio)
            print(f"{shape:18}{threads:>2}" + "".join(f"{speed[n]:10.1f}" for n in names) +
                  f"{row['ceiling']:10.1f}{speed['ours'] / row['ceiling']:7.2f}{ratio:7.2f}")
        for rung in rungs:
            best = [row["gflops"][rung] / max(row["gflops"][n] for n in names if n not in rungs) for row in rows.values()]
            print(f"{rung} over the best f32, {threads}T: " + " ".join(f"{x:.2f}" for x in best))
        if peers:
            print(f"{'geometric mean':18}{threads:>2}{geometric_mean(ratios):>{10 * len(names) + 24}.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--isa", default="native", choices=["native", "avx512", "avx2", "sse2"])
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--types", default="f32", choices=list(TYPES), help="of A, B and C")
    parser.add_argument("--rungs", nargs="*", default=[], choices=["bf16x6", "bf16x3", "bf16", "f16"])
    parser.add_argument("--seconds", type=float, default=0.005, help="of one turn")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--library", type=pathlib.Path,
                        default=ROOT / "build/release/bench/libskyline_peers_gemm.so")
    parser.add_argument("--ours", nargs="*", default=[], metavar="NAME=FILE", help="other builds of the library")
    parser.add_argument("--json", type=pathlib.Path, help="write everything measured")
    parser.add_argument("--best", action="store_true",
                        help="the fastest call instead of the median: for a machine that is busy with other things")
    parser.add_argument("--verbose", action="store_true", help="print each row when it is there")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.isa == "avx2":
        options.engines = [e for e in options.engines if e != "ort"]
    if options.types != "f32":
        options.engines = [e for e in options.engines if e == "onednn"]
    if options.child:
        print(json.dumps(measure(options, options.child)))
        return
    environment = dict(os.environ)
    if options.isa == "avx2":
        environment |= {"ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
    results = {}
    for threads in options.threads:
        command = [sys.executable, __file__, *sys.argv[1:], "--child", str(threads)]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        if child.returncode != 0:
            raise SystemExit(child.returncode)
        results[threads] = json.loads(child.stdout)
    names = ["ours", *(extra.split("=", 1)[0] for extra in options.ours), *options.rungs, *options.engines]
    show(results, names, options.rungs)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
