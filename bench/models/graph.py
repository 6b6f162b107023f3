"""A small builder of ONNX graphs with seeded random weights.

Values carry their shape, so that layers know their channels. Weights are drawn so that every activation keeps a
variance near 1: deep random networks otherwise run into infinities or denormals, and denormals cost time that no
real network spends.
"""

import dataclasses

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


@dataclasses.dataclass(frozen=True)
class Value:
    name: str
    shape: tuple

    @property
    def channels(self):
        return self.shape[1]


def pair(x):
    return (x, x) if isinstance(x, int) else tuple(x)


class Graph:
    def __init__(self, name, seed=0):
        self.name = name
        self.random = np.random.default_rng([seed, *name.encode()])
        self._nodes, self._weights, self._inputs, self._outputs, self._samples = [], [], [], [], []
        self._renamed = {}

    # --- the ends

    def input(self, name, shape, sample, symbolic=()):
        """`sample` is the array of the first test; `symbolic` maps an axis to the name that it has in the file."""
        sample = np.ascontiguousarray(sample)
        assert sample.shape == tuple(shape), name
        dims = [dict(symbolic).get(axis, extent) for axis, extent in enumerate(shape)]
        kind = helper.np_dtype_to_tensor_dtype(sample.dtype)
        self._inputs.append(helper.make_tensor_value_info(name, kind, dims))
        self._samples.append(sample)
        return Value(name, tuple(shape))

    def image(self, side, channels=3):
        return self.input("image", (1, channels, side, side), self.normal((1, channels, side, side)))

    def output(self, value, name, symbolic=()):
        self._renamed[value.name] = name
        dims = [dict(symbolic).get(axis, extent) for axis, extent in enumerate(value.shape)]
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))

    def model(self):
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [self._renamed.get(name, name) for name in names]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._weights)
        return helper.make_model(
            graph,
            producer_name="skyline-bench",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )

    def samples(self):
        return [(value.name, sample) for value, sample in zip(self._inputs, self._samples, strict=True)]

    # --- weights

    def normal(self, shape, scale=1.0):
        return (self.random.standard_normal(shape, np.float32) * np.float32(scale)).astype(np.float32)

    def uniform(self, low, high, shape):
        return self.random.uniform(low, high, shape).astype(np.float32)

    def constant(self, array, hint="w"):
        array = np.asarray(array)
        name = f"{hint}_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(array, name))
        return Value(name, array.shape)

    # --- nodes

    def node(self, op, inputs, shape, **attributes):
        """One node of one output of this shape."""
        return self.nodes(op, inputs, [shape], **attributes)[0]

    def nodes(self, op, inputs, shapes, **attributes):
        names = [f"v{len(self._nodes)}_{i}" for i in range(len(shapes))]
        self._nodes.append(helper.make_node(op, [v.name for v in inputs], names, **attributes))
        return [Value(name, tuple(shape)) for name, shape in zip(names, shapes, strict=True)]

    def like(self, op, x, *more, **attributes):
        """A node whose output has the shape of its first input."""
        return self.node(op, [x, *more], x.shape, **attributes)

    def relu(self, x):
        return self.like("Relu", x)

    def silu(self, x):
        return self.like("Mul", x, self.like("Sigmoid", x))

    def conv(self, x, channels, kernel, stride=1, pad=None, group=1, bias=True, gain=2.0):
        """`pad` None: as much as keeps the extent at stride 1. `gain` 2 makes up for a ReLU before the layer."""
        kh, kw = pair(kernel)
        ph, pw = ((kh - 1) // 2, (kw - 1) // 2) if pad is None else pair(pad)
        fan_in = x.channels // group * kh * kw
        inputs = [x, self.constant(self.normal((channels, x.channels // group, kh, kw), (gain / fan_in) ** 0.5))]
        if bias:
            inputs.append(self.constant(self.normal((channels,), 0.1), "b"))
        extents = [(e + 2 * p - k) // stride + 1 for e, p, k in zip(x.shape[2:], (ph, pw), (kh, kw), strict=True)]
        return self.node(
            "Conv",
            inputs,
            (x.shape[0], channels, *extents),
            kernel_shape=[kh, kw],
            strides=[stride, stride],
            pads=[ph, pw, ph, pw],
            group=group,
        )

    def batch_norm(self, x, gamma=(0.8, 1.2)):
        c = (x.channels,)
        statistics = [self.uniform(*gamma, c), self.normal(c, 0.1), self.normal(c, 0.1), self.uniform(0.8, 1.2, c)]
        return self.like("BatchNormalization", x, *(self.constant(s, "bn") for s in statistics), epsilon=1e-5)

    def conv_bn(self, x, channels, kernel, stride=1, activation=None, gamma=(0.8, 1.2), **options):
        y = self.batch_norm(self.conv(x, channels, kernel, stride, bias=False, **options), gamma)
        return activation(y) if activation else y

    def pool(self, op, x, kernel, stride, pad=0, **attributes):
        extents = [(e + 2 * pad - kernel) // stride + 1 for e in x.shape[2:]]
        return self.node(
            op,
            [x],
            (*x.shape[:2], *extents),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            **attributes,
        )

    def max_pool(self, x, kernel, stride, pad=0):
        return self.pool("MaxPool", x, kernel, stride, pad)

    def average_pool(self, x, kernel, stride, pad=0):
        return self.pool("AveragePool", x, kernel, stride, pad, count_include_pad=1)

    def global_average(self, x):
        return self.node("GlobalAveragePool", [x], (*x.shape[:2], 1, 1))

    def concat(self, values, axis=1):
        shape = list(values[0].shape)
        shape[axis] = sum(v.shape[axis] for v in values)
        return self.node("Concat", values, shape, axis=axis)

    def split(self, x, parts, axis=1):
        shape = list(x.shape)
        shape[axis] //= parts
        sizes = self.constant(np.full(parts, shape[axis], np.int64), "sizes")
        return self.nodes("Split", [x, sizes], [shape] * parts, axis=axis)

    def reshape(self, x, shape, written=None):
        """`written` is what stands in the file where it differs from the shape (0 and -1)."""
        return self.node("Reshape", [x, self.constant(np.array(written or shape, np.int64), "shape")], shape)

    def transpose(self, x, order):
        return self.node("Transpose", [x], [x.shape[i] for i in order], perm=list(order))

    def add(self, a, b):
        return self.node("Add", [a, b], np.broadcast_shapes(a.shape, b.shape))

    def scalar(self, op, x, value):
        return self.like(op, x, self.constant(np.float32(value), "scalar"))

    def softmax(self, x):
        return self.like("Softmax", x, axis=-1)

    def flatten(self, x):
        return self.node("Flatten", [x], (x.shape[0], int(np.prod(x.shape[1:]))), axis=1)

    def gemm(self, x, units, gain=2.0):
        weights = self.constant(self.normal((units, x.shape[1]), (gain / x.shape[1]) ** 0.5))
        return self.node("Gemm", [x, weights, self.constant(self.normal((units,), 0.1), "b")], (x.shape[0], units), transB=1)

    def linear(self, x, units, scale=1.0):
        """MatMul and Add, as exporters write a linear layer on more than two axes."""
        weights = self.constant(self.normal((x.shape[-1], units), scale / x.shape[-1] ** 0.5))
        product = self.node("MatMul", [x, weights], (*x.shape[:-1], units))
        return self.add(self.constant(self.normal((units,), 0.02), "b"), product)

    def matmul(self, a, b):
        return self.node("MatMul", [a, b], (*a.shape[:-1], b.shape[-1]))

    def layer_norm(self, x):
        n = (x.shape[-1],)
        gamma, beta = self.constant(self.uniform(0.8, 1.2, n), "ln"), self.constant(self.normal(n, 0.1), "ln")
        return self.like("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-5)


def save(model, samples, folder):
    """Writes model.onnx and the inputs in the layout of the ONNX test data."""
    data = folder / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    for i, (name, array) in enumerate(samples):
        onnx.save_tensor(numpy_helper.from_array(array, name), data / f"input_{i}.pb")
    onnx.save(model, folder / "model.onnx")
