#!/usr/bin/env python3
"""int8 gives the same integers on every ISA: quantized models on every level of this CPU, forced in turn.

Compares the bytes of all outputs of each model between levels and thread counts, and with golden.json. The models are made here,
and those of $SKYLINE_MODELS (default: shared/models beside the checkout) that are named in MODELS, if they are there.

    run.py SKYLINE [--write]     --write: golden.json is written instead of compared with
"""
import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "corpus"))
from onnx_file import FLOAT, INT8, INT32, UINT8, Tensor, graph, model, node  # noqa: E402

LEVELS = ["sse2", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_fp16", "amx", "neon", "neon_dotprod"]
MODELS = ["kws_dscnn_qdq", "mobilenetv2_int8_qdq", "mobilenetv2_int8_qoperator", "resnet8_cifar_int8_b16"]
GOLDEN = HERE / "golden.json"


class Numbers:
    """The same on every machine."""

    def __init__(self, seed):
        self.state = seed

    def integers(self, count, low, high):
        out = []
        for _ in range(count):
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            out.append(low + (self.state >> 33) % (high - low + 1))
        return out


class Net:
    """A QDQ graph, one call a layer; values are named by number."""

    def __init__(self, seed):
        self.numbers, self.nodes, self.constants, self.count = Numbers(seed), [], {}, 0

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def constant(self, tensor):
        name = self.name()
        self.constants[name] = tensor
        return name

    def add(self, op, *inputs, domain="", **attrs):
        out = self.name()
        self.nodes.append(node(op, list(inputs), [out], domain, **attrs))
        return out

    def scale(self, value, zero, dtype=UINT8):
        return self.constant(Tensor(FLOAT, [], value)), self.constant(Tensor(dtype, [], zero))

    def quantize(self, x, value=1 / 32, zero=128, dtype=UINT8):
        pair = self.scale(value, zero, dtype)
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, *pair), *pair)

    def weights(self, dims, channels, low=-127, high=127, dtype=INT8, zero=0):
        count = 1
        for d in dims:
            count *= d
        w = self.constant(Tensor(dtype, dims, self.numbers.integers(count, low, high)))
        value = 1.2 / (127 * (count / channels) ** 0.5)
        scales = [value * (1 + i % 5 / 8) for i in range(channels)]
        return (w, self.constant(Tensor(FLOAT, [channels], scales)),
                self.constant(Tensor(dtype, [channels], zero)), scales)

    def conv(self, x, ic, oc, kernel, zero=128, x_scale=1 / 32, groups=1, relu=False, y_zero=128, y_dtype=UINT8,
             w_dtype=INT8, w_zero=0, **attrs):
        low, high = (0, 255) if w_dtype == UINT8 else (-127, 127)
        w, scales, zeros, values = self.weights([oc, ic // groups, kernel, kernel], oc, low, high, w_dtype, w_zero)
        bias = self.constant(Tensor(INT32, [oc], self.numbers.integers(oc, -900, 900)))
        bias_scales = self.constant(Tensor(FLOAT, [oc], [x_scale * v for v in values]))
        w = self.add("DequantizeLinear", w, scales, zeros, axis=0)
        bias = self.add("DequantizeLinear", bias, bias_scales, axis=0)
        pad = kernel // 2
        y = self.add("Conv", x, w, bias, group=groups, kernel_shape=[kernel, kernel], pads=[pad] * 4, **attrs)
        return self.quantize(self.add("Relu", y) if relu else y, 1 / 32, y_zero, y_dtype)

    def model(self, x, dims, y):
        return model(graph(self.nodes, [(x, FLOAT, dims)], [(y, FLOAT, None)], self.constants))


def convolutions():
    n = Net(7)
    x = n.quantize("x")
    a = n.conv(x, 3, 24, 3, relu=True)
    b = n.conv(a, 24, 24, 3, groups=24)
    c = n.conv(b, 24, 40, 1, relu=True)
    d = n.conv(c, 40, 24, 3)
    e = n.quantize(n.add("Add", d, a))
    f = n.conv(n.quantize(n.add("MaxPool", e, kernel_shape=[2, 2], strides=[2, 2])), 24, 33, 3, strides=[2, 2])
    g = n.conv(f, 33, 70, 5)
    h = n.quantize(n.add("Sigmoid", g), 1 / 256, 0)
    i = n.quantize(n.add("Mul", g, h))
    j = n.quantize(n.add("Concat", i, n.conv(f, 33, 10, 1), axis=1))
    k = n.quantize(n.add("GlobalAveragePool", j))
    flat = n.add("Flatten", k)
    w, scales, zeros, _ = n.weights([80, 37], 37)
    y = n.add("MatMul", flat, n.add("DequantizeLinear", w, scales, zeros, axis=1))
    return n.model("x", [1, 3, 33, 31], n.quantize(y)), [1, 3, 33, 31]


def signed_and_uncentered():
    n = Net(11)
    x = n.quantize("x", 1 / 32, -3, INT8)
    a = n.conv(x, 5, 32, 3, y_zero=4, y_dtype=INT8)
    b = n.conv(a, 32, 48, 1, y_zero=0, y_dtype=INT8, relu=True)
    c = n.conv(b, 48, 16, 3, y_zero=-9, y_dtype=INT8, strides=[2, 2])
    d = n.quantize(c)  # to u8
    e = n.conv(d, 16, 20, 3, w_dtype=UINT8, w_zero=101)
    return n.model("x", [2, 5, 14, 9], n.conv(e, 20, 17, 1, w_dtype=UINT8, w_zero=140)), [2, 5, 14, 9]


def products():
    n = Net(13)
    x = n.quantize("x", 1 / 32, 117)
    for k, m in ((65, 130), (130, 400), (400, 48)):
        w, scales, zeros, _ = n.weights([k, m], m)
        x = n.quantize(n.add("MatMul", x, n.add("DequantizeLinear", w, scales, zeros, axis=1)))
    return n.model("x", [37, 65], x), [37, 65]


def write_npy(path, dims, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({', '.join(map(str, dims))},), }}"
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
                     + struct.pack(f"<{len(values)}f", *values))


def outputs(skyline, folder, inputs, level, threads):
    """A hash of all outputs, or None if this CPU lacks the level."""
    with tempfile.TemporaryDirectory() as out:
        command = [skyline, "run", str(folder / "model.onnx"), "--isa", level, "--threads", str(threads), "--output-dir", out]
        for name, path in inputs.items():
            command += ["--input", f"{name}={path}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            if "ISA level" in done.stderr:
                return None
            sys.exit(f"FAILED {folder.name} on {level}: {done.stderr}")
        files = sorted(pathlib.Path(out).iterdir())
        return hashlib.sha256(b"".join(f.name.encode() + f.read_bytes() for f in files)).hexdigest()


def made(root):
    for build in (convolutions, signed_and_uncentered, products):
        content, dims = build()
        folder = root / build.__name__
        folder.mkdir()
        (folder / "model.onnx").write_bytes(content)
        count = 1
        for d in dims:
            count *= d
        write_npy(folder / "x.npy", dims, [v / 64 for v in Numbers(3).integers(count, -200, 200)])
        yield folder, {"x": folder / "x.npy"}


def shared():
    root = pathlib.Path(os.environ.get("SKYLINE_MODELS", HERE.parents[1].parent / "shared" / "models")) / "models"
    if not root.is_dir():
        print("SKIPPED: golden outputs of models in $SKYLINE_MODELS (default: shared/models beside the checkout)")
        return
    for name in MODELS:
        files = sorted((root / name / "test_data_set_0").glob("input_*.pb"))
        if not files:
            print(f"SKIPPED: golden outputs of {name}, which is not in {root.name}")
            continue
        yield root / name, {input_name(f): f for f in files}


def input_name(path):
    """Of a TensorProto: field 8."""
    data, at = path.read_bytes(), 0

    def varint():
        nonlocal at
        v = shift = 0
        while True:
            byte = data[at]
            at += 1
            v |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return v

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            varint()
        elif key & 7 == 5:
            at += 4
        else:
            size = varint()
            if key >> 3 == 8:
                return data[at:at + size].decode()
            at += size
    sys.exit(f"{path} has no name")


def main():
    skyline, write = sys.argv[1], "--write" in sys.argv[2:]
    golden = {} if write else json.loads(GOLDEN.read_text())
    found, status = {}, 0
    with tempfile.TemporaryDirectory() as root:
        for folder, inputs in [*made(pathlib.Path(root)), *shared()]:
            hashes = {}
            for i, level in enumerate(LEVELS):
                got = outputs(skyline, folder, inputs, level, 1 + i % 3)
                if got:
                    hashes[level] = got
            found[folder.name] = next(iter(hashes.values()))
            if len(set(hashes.values())) > 1:
                print(f"FAILED {folder.name}: levels differ: " + ", ".join(f"{k} {v[:8]}" for k, v in hashes.items()))
                status = 1
            elif not write and golden.get(folder.name) != found[folder.name]:
                print(f"FAILED {folder.name}: {found[folder.name]}, golden {golden.get(folder.name)}")
                status = 1
            else:
                print(f"ok {folder.name}: {', '.join(hashes)}")
    if write:
        GOLDEN.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
