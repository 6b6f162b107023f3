"""Models that are well-formed files and wrong all the same: cases 28, 29 and 32 to 39 of the list of bad inputs.

Each case has the statuses that it may end in ("OK": runs and gives a defined answer). One that feeds data to an operator comes
twice: with the data as constants of the model (seen when loading), and as inputs (seen when running).
"""
import itertools

from onnx_file import (BOOL, DOUBLE, FLOAT, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, Tensor, graph, model,
                       node)

MIN64, MAX64 = -(1 << 63), (1 << 63) - 1
HUGE = 1 << 40


class Case:
    def __init__(self, name, data, expected, inputs=None, timeout=0):
        self.name, self.data, self.expected = name, data, expected.split("|")
        self.inputs = inputs or {}  # name: Tensor
        self.timeout = timeout


def f32(dims, v=1.0):
    return Tensor(FLOAT, dims, v)


def i64(*values):
    return Tensor(INT64, [len(values)], list(values))


def scalar(dtype, v):
    return Tensor(dtype, [], v)


CASES = []


def op(number, expected, op_type, x, more=(), outputs=1, opset=17, microsoft=False, at_run=None, **attrs):
    """x: the tensor that is always an input (None for none); more: further operands, None for an empty one. They are constants in
    one model and inputs in a second. at_run: what the second may end in, if not the same."""
    operands = ([("x", x)] if x is not None else []) + [(f"p{i}" if t is not None else "", t) for i, t in enumerate(more)]
    outs = [f"y{i}" for i in range(outputs)]
    body = [node(op_type, [n for n, _ in operands], outs, "com.microsoft" if microsoft else "", **attrs)]
    serial = sum(1 for c in CASES if c.name.startswith(f"{number}_{op_type}_"))
    for form in ("constants", "inputs"):
        fed = {n: t for n, t in operands if t is not None and (n == "x" or form == "inputs")}
        fixed = {n: t for n, t in operands if t is not None and n not in fed}
        if form == "inputs" and len(fed) == (x is not None):
            continue
        g = graph(body, [(n, t.dtype, t.dims) for n, t in fed.items()], outs, fixed)
        CASES.append(Case(f"{number}_{op_type}_{serial:02}_{form}", model(g, opset, microsoft),
                          at_run if at_run and form == "inputs" else expected, fed))


def bombs():
    size = i64(HUGE)
    for op_type, operands, attrs in (
        ("Expand", [f32([1]), size], {}),
        ("Tile", [f32([1]), size], {}),
        ("ConstantOfShape", [size], {}),
        ("ConstantOfShape", [i64(1 << 31, 1 << 31)], {}),
        ("ConstantOfShape", [i64(1 << 62, 1 << 62)], {}),
        ("Range", [scalar(INT64, 0), scalar(INT64, HUGE), scalar(INT64, 1)], {}),
        ("Range", [scalar(INT64, MIN64), scalar(INT64, MAX64), scalar(INT64, 1)], {}),
        ("Range", [scalar(FLOAT, 0.0), scalar(FLOAT, 1e30), scalar(FLOAT, 1e-30)], {}),
        ("OneHot", [i64(1), scalar(INT64, HUGE), f32([2])], {}),
        ("Pad", [f32([1]), i64(HUGE, HUGE)], {}),
        ("Pad", [f32([1]), i64(MAX64, MAX64)], {}),
        ("Resize", [f32([1, 1, 1, 1]), None, f32([4], [1.0, 1.0, 1e6, 1e7])], {"mode": "nearest"}),
        ("Resize", [f32([1, 1, 1, 1]), None, None, i64(1, 1, HUGE, 1)], {"mode": "nearest"}),
        ("BlackmanWindow", [scalar(INT64, HUGE)], {}),
    ):
        op(28, "LIMIT|INVALID", op_type, None, operands, at_run="LIMIT|INVALID|INPUT", **attrs)
    doubling = [node("Concat", [f"v{i}"] * 2, [f"v{i + 1}"], axis=0) for i in range(40)]
    CASES.append(Case("28_doubling", model(graph(doubling, [], ["v40"], {"v0": f32([1])})), "LIMIT"))
    CASES.append(Case("28_doubling_input", model(graph(doubling, [("v0", FLOAT, [1])], ["v40"])), "LIMIT", {"v0": f32([1])}))
    for op_type in ("RandomNormal", "RandomUniform"):
        CASES.append(Case(f"28_{op_type}", model(graph([node(op_type, [], ["y"], shape=[HUGE])], [], ["y"])), "LIMIT"))
    op(28, "LIMIT|INVALID", "ConvTranspose", f32([1, 1, 2, 2]), [f32([1, 1, 2, 2])], output_shape=[1 << 30, 1 << 30])
    op(28, "LIMIT|INVALID", "ConvTranspose", f32([1, 1, 2, 2]), [f32([1, 1, 2, 2])], strides=[1 << 40, 1 << 40])
    op(28, "LIMIT", "Upsample", f32([1, 1, 1, 1]), [f32([4], [1.0, 1.0, 1e6, 1e7])], opset=9, mode="nearest", at_run="LIMIT|INPUT")


def loops():
    body = graph([node("Add", ["v", "v"], ["next"]), node("Identity", ["go"], ["still"])],
                 [("i", INT64, []), ("go", BOOL, []), ("v", FLOAT, [])], ["still", "next"])
    for name, trip, constant in itertools.product(("1e8", "endless"), ("trip",), (True, False)):
        values = {"v0": scalar(FLOAT, 0.0), "go0": scalar(BOOL, True)}
        if name == "1e8":
            values["trip"] = scalar(INT64, 100_000_000)
        n = node("Loop", [trip if name == "1e8" else "", "go0", "v0"], ["y"], body=body)
        fed = {} if constant else values
        g = graph([n], [(k, t.dtype, t.dims) for k, t in fed.items()], ["y"], values if constant else {})
        CASES.append(Case(f"29_loop_{name}_{'constants' if constant else 'inputs'}", model(g), "CANCELLED|LIMIT", fed, timeout=0.2))
    for depth in (3,):
        inner = body
        for _ in range(depth):
            inner = graph([node("Loop", ["many", "go", "v"], ["next"], body=inner), node("Identity", ["go"], ["still"])],
                          [("i", INT64, []), ("go", BOOL, []), ("v", FLOAT, [])], ["still", "next"])
        n = node("Loop", ["many", "go0", "x"], ["y"], body=inner)
        g = graph([n], [("x", FLOAT, [])], ["y"], {"many": scalar(INT64, 100_000), "go0": scalar(BOOL, True)})
        CASES.append(Case("29_nested_loops", model(g), "CANCELLED|LIMIT", {"x": scalar(FLOAT, 1.0)}, timeout=0.2))


def windows():
    x, w = f32([1, 4, 8, 8]), f32([4, 4, 3, 3])
    for attrs in ({"strides": [0, 1]}, {"strides": [-1, 1]}, {"dilations": [0, 0]}, {"dilations": [1, -2]}, {"group": 0},
                  {"group": -1}, {"kernel_shape": [0, 3]}, {"kernel_shape": [3, -3]}, {"kernel_shape": [2, 2]},
                  {"strides": [1]}, {"strides": [1, 1, 1]}, {"pads": [0, 0]}, {"pads": [-4, -4, -4, -4]},
                  {"pads": [MAX64, 0, MAX64, 0]}, {"dilations": [MAX64, 1]}, {"dilations": [4, 4]}, {"auto_pad": "SOMEHOW"},
                  {"strides": [MIN64, 1]}):
        op(32, "INVALID|LIMIT", "Conv", x, [w], **attrs)
    op(32, "OK|INVALID", "Conv", x, [w], strides=[MAX64, MAX64])
    for attrs in ({"strides": [0, 1]}, {"dilations": [0, 1]}, {"group": 0}, {"group": -4}, {"kernel_shape": [0, 0]},
                  {"output_padding": [-1, 0]}, {"pads": [100, 100, 100, 100]}, {"strides": [MAX64, 1]}):
        op(32, "INVALID|LIMIT", "ConvTranspose", x, [w], **attrs)
    for pool in ("MaxPool", "AveragePool", "LpPool"):
        for attrs in ({"kernel_shape": [0, 2]}, {"kernel_shape": [-2, 2]}, {"kernel_shape": [2, 2], "strides": [0, 1]},
                      {"kernel_shape": [2, 2], "strides": [-1, -1]}, {"kernel_shape": [20, 20]}, {"kernel_shape": [2]}, {},
                      {"kernel_shape": [MAX64, MAX64]}, {"kernel_shape": [2, 2], "pads": [-9, 0, 0, 0]},
                      {"kernel_shape": [2, 2], "pads": [MAX64, MAX64, MAX64, MAX64]}):
            op(32, "INVALID|LIMIT", pool, x, **attrs)
    op(32, "INVALID", "MaxPool", x, kernel_shape=[2, 2], dilations=[0, 1])
    op(32, "INVALID|OK", "LpPool", x, kernel_shape=[2, 2], p=0)
    for op_type in ("DepthToSpace", "SpaceToDepth"):
        for size in (0, -2, 3, MAX64, MIN64):
            op(32, "INVALID|LIMIT", op_type, x, blocksize=size)
    u8 = lambda dims: Tensor(UINT8, dims, 1)
    for attrs in ({"strides": [0, 0]}, {"group": 0}, {"dilations": [0, 1]}, {"group": 3}):
        op(32, "INVALID", "ConvInteger", u8([1, 4, 8, 8]), [u8([4, 4, 3, 3])], **attrs)
        op(32, "INVALID", "QLinearConv", u8([1, 4, 8, 8]),
           [scalar(FLOAT, 1.0), scalar(UINT8, 0), u8([4, 4, 3, 3]), scalar(FLOAT, 1.0), scalar(UINT8, 0), scalar(FLOAT, 1.0),
            scalar(UINT8, 0)], **attrs)
    op(32, "INVALID", "LRN", x, size=0)
    op(32, "INVALID", "LRN", x, size=-3)
    for groups in (0, -1, 3):
        op(32, "INVALID", "GroupNormalization", x, [f32([4]), f32([4])], opset=21, num_groups=groups)
    op(32, "INVALID", "Col2Im", f32([1, 4, 4]), [i64(4, 4), i64(0, 2)], opset=18, at_run="INVALID|INPUT")
    op(32, "INVALID", "Col2Im", f32([1, 4, 4]), [i64(4, 4), i64(2, 2)], opset=18, strides=[0, 0])
    op(32, "INVALID|INPUT", "STFT", f32([1, 16, 1]), [scalar(INT64, 0), None, scalar(INT64, 4)])
    op(32, "INVALID|INPUT", "STFT", f32([1, 16, 1]), [scalar(INT64, -1), None, scalar(INT64, 4)])
    rois = [f32([1, 4]), i64(0)]
    op(32, "INVALID", "RoiAlign", x, rois, output_height=0)
    op(32, "INVALID", "RoiAlign", x, rois, output_width=-1)
    op(32, "INVALID", "RoiAlign", x, rois, sampling_ratio=-1)
    op(32, "INVALID|INPUT", "RoiAlign", x, [f32([1, 4]), i64(7)])


def lengths():
    x, w = f32([1, 4, 8, 8]), f32([4, 4, 3, 3])
    op(33, "INVALID", "Conv", x, [w], group=3)
    op(33, "INVALID", "Conv", x, [f32([4, 2, 3, 3])], group=4)
    op(33, "INVALID", "Conv", x, [f32([3, 2, 3, 3])], group=2)
    for n in (0, 1, 3, 5):
        op(33, "INVALID", "Conv", x, [w, f32([n])])
    op(33, "INVALID", "Conv", x, [w, f32([4, 1])])
    op(33, "INVALID", "ConvTranspose", x, [w, f32([3])])
    op(33, "INVALID", "ConvTranspose", x, [w], group=3)
    four = f32([4])
    for i in range(4):
        op(33, "INVALID", "BatchNormalization", x, [f32([3]) if i == k else four for k in range(4)])
    op(33, "INVALID", "InstanceNormalization", x, [f32([3]), four])
    op(33, "INVALID", "InstanceNormalization", x, [four, f32([5])])
    op(33, "INVALID", "LayerNormalization", f32([2, 8]), [f32([7])])
    op(33, "INVALID", "LayerNormalization", f32([2, 8]), [f32([8]), f32([9])])
    op(33, "INVALID", "GroupNormalization", x, [f32([3]), four], opset=21, num_groups=2)
    op(33, "INVALID", "PRelu", x, [f32([3])])
    op(33, "INVALID", "Gemm", f32([2, 3]), [f32([4, 5])])
    op(33, "INVALID", "Gemm", f32([2, 3]), [f32([3, 5]), f32([4])])
    op(33, "INVALID", "MatMul", f32([2, 3]), [f32([4, 5])])
    op(33, "INVALID", "MatMul", f32([2, 3]), [scalar(FLOAT, 1.0)])
    op(33, "INVALID", "Add", f32([2, 3]), [f32([2])])
    u8, s = (lambda dims: Tensor(UINT8, dims, 1)), scalar(FLOAT, 1.0)
    op(33, "INVALID", "QLinearConv", u8([1, 4, 8, 8]),
       [s, scalar(UINT8, 0), u8([4, 4, 3, 3]), f32([3]), Tensor(UINT8, [3], 0), s, scalar(UINT8, 0)])
    op(33, "INVALID", "QLinearConv", u8([1, 4, 8, 8]),
       [s, scalar(UINT8, 0), u8([4, 4, 3, 3]), s, scalar(UINT8, 0), s, scalar(UINT8, 0), Tensor(INT32, [3], 0)])
    op(33, "INVALID", "QuantizeLinear", f32([2, 8]), [f32([7]), Tensor(UINT8, [7], 0)], axis=1)
    lstm = lambda wd, rd, *rest: [f32(wd), f32(rd), *rest]
    x3 = f32([2, 1, 3])
    op(33, "INVALID", "LSTM", x3, lstm([1, 8, 4], [1, 8, 2]), outputs=1, hidden_size=2)
    op(33, "INVALID", "LSTM", x3, lstm([1, 8, 3], [1, 8, 5]), outputs=1, hidden_size=2)
    op(33, "INVALID", "LSTM", x3, lstm([1, 8, 3], [1, 8, 2], f32([1, 15])), outputs=1, hidden_size=2)
    op(33, "INVALID", "LSTM", x3, lstm([1, 8, 3], [1, 8, 2]), outputs=1, hidden_size=3)
    op(33, "INVALID", "LSTM", x3, lstm([1, 8, 3], [1, 8, 2]), outputs=1, hidden_size=-2)
    op(33, "INVALID|INPUT", "LSTM", x3, lstm([1, 8, 3], [1, 8, 2], None, Tensor(INT32, [1], 9)), outputs=1, hidden_size=2)
    op(33, "INVALID", "GRU", x3, lstm([1, 8, 3], [1, 6, 2]), outputs=1, hidden_size=2)


def indices():
    x = f32([5, 3])
    for i in (5, -6, MIN64, MAX64):
        bad = "INVALID|INPUT"
        op(34, bad, "Gather", x, [i64(0, i)])
        op(34, bad, "Gather", x, [scalar(INT64, i)], axis=1)
        op(34, bad, "GatherElements", x, [Tensor(INT64, [1, 3], [0, i, 0])])
        op(34, bad, "GatherND", x, [Tensor(INT64, [1, 2], [0, i])])
        op(34, bad, "ScatterElements", x, [Tensor(INT64, [1, 3], [0, i, 0]), f32([1, 3])])
        op(34, bad, "ScatterND", x, [Tensor(INT64, [1, 2], [i, 0]), f32([1])])
        op(34, "OK", "OneHot", i64(1, i), [scalar(INT64, 3), f32([2])])
    op(34, "INVALID|INPUT", "Gather", x, [Tensor(INT32, [1], -(1 << 31))])
    op(34, "INVALID", "GatherND", x, [Tensor(INT64, [1, 3], 0)])
    op(34, "INVALID", "GatherND", x, [i64(0)], batch_dims=2)
    op(34, "INVALID", "ScatterND", x, [Tensor(INT64, [1, 2], 0), f32([2])])
    op(34, "INVALID", "ScatterElements", x, [Tensor(INT64, [1, 3], 0), f32([1, 2])])
    for depth in (-1, MIN64):
        op(34, "INVALID|INPUT", "OneHot", i64(1), [scalar(INT64, depth), f32([2])])
    op(34, "INVALID", "OneHot", i64(1), [scalar(INT64, 3), f32([3])])
    for k in (-1, 6, MIN64, MAX64):
        op(34, "INVALID|INPUT", "TopK", x, [i64(k)], outputs=2, axis=0)
    for n in (0, 6, -1, MAX64):
        op(34, "INVALID|INPUT|OK" if n == 0 else "INVALID|INPUT", "ReverseSequence", x, [i64(1, n, 1)], batch_axis=1, time_axis=0)
    op(34, "INVALID|INPUT", "MaxUnpool", f32([1, 1, 2, 2]), [Tensor(INT64, [1, 1, 2, 2], [0, 1, 2, 1000])], kernel_shape=[2, 2])
    op(34, "INVALID|INPUT", "MaxUnpool", f32([1, 1, 2, 2]), [Tensor(INT64, [1, 1, 2, 2], -17)], kernel_shape=[2, 2])
    op(34, "OK", "Compress", x, [Tensor(BOOL, [2], True)], axis=0)
    op(34, "OK|INVALID|INPUT", "Compress", x, [Tensor(BOOL, [9], True)], axis=0)
    ids = Tensor(INT32, [1, 2], [0, 77])
    op(34, "INVALID|INPUT|UNSUPPORTED", "EmbedLayerNormalization", ids,
       [None, f32([4, 3]), f32([4, 3]), None, f32([3]), f32([3])], outputs=2, microsoft=True)


def axes():
    x = f32([2, 3])
    for axis in (2, -3, MIN64, MAX64):
        for op_type in ("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "LpNormalization", "Split"):
            op(35, "INVALID", op_type, x, axis=axis)
        op(35, "INVALID", "Concat", x, [f32([2, 3])], axis=axis)
        op(35, "INVALID", "Gather", x, [i64(0)], axis=axis)
        op(35, "INVALID", "GatherElements", x, [Tensor(INT64, [1, 1], 0)], axis=axis)
        op(35, "INVALID", "ScatterElements", x, [Tensor(INT64, [1, 1], 0), f32([1, 1])], axis=axis)
        op(35, "INVALID", "LayerNormalization", x, [f32([3])], axis=axis)
        op(35, "INVALID", "ReduceMax", x, axes=[axis])
        op(35, "INVALID", "TopK", x, [i64(1)], outputs=2, axis=axis)
        op(35, "INVALID|INPUT", "ReduceSum", x, [i64(axis)])
        op(35, "INVALID|INPUT", "Squeeze", f32([1, 3]), [i64(axis)])
        op(35, "INVALID|INPUT", "CumSum", x, [scalar(INT64, axis)])
        op(35, "INVALID|INPUT", "Slice", x, [i64(0), i64(1), i64(axis)])
        op(35, "INVALID|INPUT", "Unsqueeze", x, [i64(3 if axis == 2 else -4 if axis == -3 else axis)])
    for axis in (3, -3, MIN64):
        op(35, "INVALID", "Flatten", x, axis=axis)
    for perm in ([0, 0], [0], [0, 1, 2], [0, 2], [-1, 1], [MIN64, MAX64]):
        op(35, "INVALID", "Transpose", x, perm=perm)
    op(35, "INVALID|INPUT", "Squeeze", f32([2, 3]), [i64(0)])
    for repeated in ((0, 0), (0, -2)):
        op(35, "INVALID|INPUT", "ReduceSum", x, [i64(*repeated)])
        op(35, "INVALID|INPUT", "Squeeze", f32([1, 3]), [i64(*repeated)])
        op(35, "INVALID|INPUT", "Slice", x, [i64(0, 0), i64(1, 1), i64(*repeated)])
    op(35, "INVALID|INPUT", "Unsqueeze", x, [i64(0, 0)])
    op(35, "INVALID|INPUT", "Unsqueeze", x, [i64(0, -4)])


def pieces():
    x = f32([6, 3])
    for sizes in ((1, 2), (6, 1), (-1, 7), (MAX64, MAX64), (MIN64, 6)):
        op(36, "INVALID|INPUT|LIMIT", "Split", x, [i64(*sizes)], outputs=2, axis=0)
    op(36, "OK", "Split", x, [i64(6, 0)], outputs=2, axis=0)
    op(36, "INVALID", "Split", x, opset=18, outputs=2, num_outputs=3)
    op(36, "INVALID", "Split", x, opset=18, num_outputs=0)
    op(36, "INVALID", "Split", x, opset=18, num_outputs=-1)
    for start, end, step in itertools.product((MIN64, 0, MAX64), (MIN64, 3, MAX64), (MIN64, -1, 1, MAX64)):
        op(36, "OK", "Slice", x, [i64(start), i64(end), i64(0), i64(step)])
    op(36, "INVALID|INPUT", "Slice", x, [i64(0), i64(3), i64(0), i64(0)])
    op(36, "INVALID|INPUT", "Slice", x, [i64(0), i64(3, 1), i64(0)])
    op(36, "INVALID|INPUT", "Slice", x, [i64(0, 0, 0), i64(1, 1, 1)])
    for pads in ((-4, 0, -3, 0), (-7, 0, 0, 0), (MIN64, 0, 0, 0), (MIN64, 0, MIN64, 0)):
        op(36, "INVALID|INPUT|OK|LIMIT", "Pad", x, [i64(*pads)])
    op(36, "OK", "Pad", x, [i64(-3, 0, -3, 0)])
    op(36, "INVALID|INPUT", "Pad", x, [i64(0, 0)])
    for mode in ("reflect", "edge", "wrap"):
        op(36, "INVALID|INPUT|LIMIT", "Pad", x, [i64(HUGE, 0, 0, 0)], mode=mode, opset=19)
        op(36, "INVALID|INPUT|OK", "Pad", x, [i64(6, 0, 6, 0)], mode=mode, opset=19)
        op(36, "INVALID|INPUT|OK", "Pad", f32([0, 3]), [i64(1, 0, 1, 0)], mode=mode, opset=19)
    op(36, "INVALID", "Pad", x, [i64(0, 0, 0, 0)], mode="sideways")
    for shape in ((-1, -1), (-2, 9), (4, 5), (0, 0, 2), (MAX64, MAX64), (-1, 7)):
        op(36, "INVALID|INPUT|LIMIT", "Reshape", x, [i64(*shape)])
    op(36, "INVALID|INPUT|LIMIT", "Expand", x, [i64(-1, 3)])
    op(36, "INVALID|INPUT", "Expand", x, [i64(4, 3)])
    op(36, "INVALID|INPUT", "Tile", x, [i64(-1, 1)])
    op(36, "INVALID|INPUT", "Tile", x, [i64(1, 1, 1)])
    op(36, "INVALID|INPUT|LIMIT", "ConstantOfShape", None, [i64(-1)])
    op(36, "INVALID|INPUT", "Range", None, [scalar(INT64, 0), scalar(INT64, 5), scalar(INT64, 0)])
    op(36, "INVALID|INPUT|LIMIT", "Range", None, [scalar(FLOAT, 0.0), scalar(FLOAT, float("nan")), scalar(FLOAT, 1.0)])
    op(36, "INVALID|INPUT|LIMIT", "Range", None, [scalar(FLOAT, 0.0), scalar(FLOAT, float("inf")), scalar(FLOAT, 1.0)])


def resizes():
    x, nan, inf = f32([1, 1, 4, 4]), float("nan"), float("inf")
    for mode in ("nearest", "linear", "cubic"):
        for scales in ((1.0, 1.0, 0.0, 1.0), (1.0, 1.0, -2.0, 1.0), (1.0, 1.0, nan, 1.0), (1.0, 1.0, inf, 1.0), (1.0, 2.0),
                       (1.0, 1.0, 2.0, 2.0, 2.0), (-0.0, 1.0, 1.0, 1.0)):
            op(37, "INVALID|INPUT|LIMIT", "Resize", x, [None, f32([len(scales)], list(scales))], mode=mode)
        for sizes in ((1, 1, 0, 4), (1, 1, -1, 4), (1, 1), (1, 1, MIN64, 1), (1, 1, MAX64, MAX64)):
            op(37, "INVALID|INPUT|LIMIT|OK" if sizes == (1, 1, 0, 4) else "INVALID|INPUT|LIMIT", "Resize", x,
               [None, None, i64(*sizes)], mode=mode)
        op(37, "OK|INVALID|INPUT", "Resize", x, [None, f32([4], [1.0, 1.0, 1e-30, 1.0])], mode=mode)
        op(37, "INVALID|INPUT|LIMIT", "Resize", f32([1, 1, 0, 4]), [None, None, i64(1, 1, 4, 4)], mode=mode)
    op(37, "INVALID", "Resize", x, [None, f32([4], 2.0), i64(1, 1, 8, 8)])
    op(37, "INVALID", "Resize", x)
    op(37, "INVALID", "Resize", x, [None, f32([4])], mode="octic")
    op(37, "INVALID|INPUT", "Resize", x, [f32([3]), f32([4])], coordinate_transformation_mode="tf_crop_and_resize")
    op(37, "OK|INVALID|INPUT", "Resize", x, [f32([8], nan), f32([4])], coordinate_transformation_mode="tf_crop_and_resize")
    op(37, "INVALID|INPUT", "Resize", x, [None, f32([2], [0.0, 2.0])], axes=[2, 3], opset=18)
    op(37, "INVALID", "Resize", x, [None, f32([2])], axes=[2, 2], opset=18)
    op(37, "INVALID", "Resize", x, [None, f32([2])], axes=[2, 4], opset=18)
    op(37, "OK", "GridSample", x, [f32([1, 2, 2, 2], [nan, inf, -inf, 1e30, -1e30, 0.0, 5.0, nan])], opset=16)
    op(37, "INVALID", "GridSample", x, [f32([1, 2, 2, 3])], opset=16)
    op(37, "INVALID|INPUT", "AffineGrid", f32([1, 2, 3]), [i64(1, 1, -4, 4)], opset=20)
    op(37, "INVALID|INPUT|LIMIT", "AffineGrid", f32([1, 2, 3]), [i64(1, 1, HUGE, HUGE)], opset=20)


def integers():
    for dtype, bits in ((INT8, 8), (INT16, 16), (INT32, 32), (INT64, 64), (UINT8, 8), (UINT16, 16), (UINT32, 32), (UINT64, 64)):
        signed = dtype in (INT8, INT16, INT32, INT64)
        least = -(1 << bits - 1) if signed else 0
        zero, minus = Tensor(dtype, [40], 0), Tensor(dtype, [40], -1 if signed else 1)
        x = Tensor(dtype, [40], least)
        for op_type in ("Div", "Mod"):
            op(38, "OK", op_type, x, [zero])
            op(38, "OK", op_type, x, [minus])
        op(38, "OK", "Mod", x, [zero], fmod=1)
        op(38, "OK", "Mod", x, [minus], fmod=1)
        if signed:
            op(38, "OK", "Abs", x)
            op(38, "OK", "Neg", x)
        else:
            for direction in ("LEFT", "RIGHT"):
                op(38, "OK", "BitShift", Tensor(dtype, [40], 1), [Tensor(dtype, [40], bits)], direction=direction)
                op(38, "OK", "BitShift", Tensor(dtype, [40], 1), [Tensor(dtype, [40], (1 << bits) - 1)], direction=direction)
    for dtype in (INT32, INT64):
        op(38, "OK", "Pow", Tensor(dtype, [40], 0), [Tensor(dtype, [40], -1)])
        op(38, "OK", "Pow", Tensor(dtype, [40], 3), [Tensor(dtype, [40], 1000)])
        for op_type in ("Mul", "Add", "Sub"):
            least = Tensor(dtype, [40], -(1 << (31 if dtype == INT32 else 63)))
            op(38, "OK", op_type, least, [least])
        for op_type in ("ReduceProd", "ReduceSumSquare", "ReduceL1"):
            op(38, "OK", op_type, Tensor(dtype, [40], -(1 << 31)))
        op(38, "OK", "CumSum", Tensor(dtype, [40], -(1 << 31)), [scalar(INT64, 0)])
        op(38, "OK", "MatMul", Tensor(dtype, [4, 4], -(1 << 31)), [Tensor(dtype, [4, 4], -(1 << 31))])
    for value in (float("nan"), float("inf"), -1e30, 3e9, 1e300):
        for to in (INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, BOOL):
            op(38, "OK", "Cast", Tensor(DOUBLE, [40], value), to=to)
            if value != 1e300:
                op(38, "OK", "Cast", f32([40], value), to=to)
    op(38, "UNSUPPORTED|INVALID", "Cast", f32([4]), to=77)
    op(38, "INVALID", "BitShift", Tensor(UINT8, [4], 1), [Tensor(UINT8, [4], 1)], direction="UP")


def scales():
    nan, x = float("nan"), f32([2, 4], 3.0)
    for scale in (0.0, -1.0, nan, float("inf")):
        s = scalar(FLOAT, scale)
        op(39, "INVALID|INPUT|OK", "QuantizeLinear", x, [s, scalar(UINT8, 0)])
        op(39, "INVALID|INPUT|OK", "DequantizeLinear", Tensor(UINT8, [2, 4], 3), [s, scalar(UINT8, 0)])
        u8, one, zero = Tensor(UINT8, [4, 4], 3), scalar(FLOAT, 1.0), scalar(UINT8, 0)
        op(39, "INVALID|INPUT|OK", "QLinearMatMul", u8, [s, zero, u8, one, zero, one, zero])
        op(39, "INVALID|INPUT|OK", "QLinearMatMul", u8, [one, zero, u8, one, zero, s, zero])
        op(39, "INVALID|INPUT|OK", "QLinearAdd", u8, [s, zero, u8, one, zero, s, zero], microsoft=True)
        op(39, "INVALID|INPUT|OK", "QLinearConv", Tensor(UINT8, [1, 1, 4, 4], 3),
           [one, zero, Tensor(UINT8, [1, 1, 2, 2], 1), s, zero, s, zero])
    one = scalar(FLOAT, 1.0)
    op(39, "INVALID", "DequantizeLinear", Tensor(UINT8, [2, 4], 3), [one, scalar(INT8, 0)])
    op(39, "INVALID", "QuantizeLinear", x, [one, scalar(FLOAT, 0.0)])
    op(39, "INVALID", "QuantizeLinear", x, [one, Tensor(UINT8, [2], 0)])
    op(39, "INVALID|UNSUPPORTED", "QuantizeLinear", x, [scalar(INT64, 1), scalar(UINT8, 0)])
    op(39, "INVALID", "DequantizeLinear", Tensor(INT32, [2], 3), [f32([2]), Tensor(UINT8, [2], 0)], axis=0)
    u8 = Tensor(UINT8, [4, 4], 3)
    op(39, "INVALID", "QLinearMatMul", u8, [one, scalar(INT8, 0), u8, one, scalar(UINT8, 0), one, scalar(UINT8, 0)])
    op(39, "INVALID", "MatMulInteger", u8, [u8, scalar(INT8, 0)])
    op(39, "INVALID", "DequantizeLinear", Tensor(UINT8, [2, 4], 3), [f32([2, 2]), Tensor(UINT8, [2, 2], 0)], block_size=0,
       axis=1, opset=21)
    op(39, "INVALID", "DequantizeLinear", Tensor(UINT8, [2, 4], 3), [f32([2, 2]), Tensor(UINT8, [2, 2], 0)], block_size=-2,
       axis=1, opset=21)
    op(39, "INVALID", "DequantizeLinear", Tensor(UINT8, [2, 4], 3), [f32([2, 3]), Tensor(UINT8, [2, 3], 0)], block_size=2,
       axis=1, opset=21)
    k = 70_000  # 255 * 255 * 70,000 does not fit in 32 bits
    op(39, "INVALID|OK", "MatMulInteger", Tensor(UINT8, [1, k], 255), [Tensor(UINT8, [k, 1], 255)])
    op(39, "INVALID|OK", "QLinearMatMul", Tensor(UINT8, [1, k], 255),
       [one, scalar(UINT8, 0), Tensor(INT8, [k, 1], -128), one, scalar(INT8, 127), one, scalar(UINT8, 0)])
    op(39, "INPUT", "DynamicQuantizeLinear", f32([4], nan), outputs=3)
    op(39, "OK", "DynamicQuantizeLinear", f32([0]), outputs=3)


for fill in (bombs, loops, windows, lengths, indices, axes, pieces, resizes, integers, scales):
    fill()
