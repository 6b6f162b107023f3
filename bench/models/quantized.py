"""The classifiers in 8 bits, as quantizers write them: QuantizeLinear and DequantizeLinear around float operators.

Activations are u8 with one scale, weights i8 with a scale per output channel, a bias is i32 in units of both scales
(ONNX Runtime fuses no other). BatchNormalization is folded into the convolution before it; a Relu or Clip that the
range of the integers implies is left out.
"""

import classifiers
import numpy as np
from onnx import helper, numpy_helper

RANGE = 6.0  # activations have a variance near 1


class Quantizer:
    """Rewrites the ModelProto of a Graph of Conv, BatchNormalization, Relu, Clip, Add, pools, Flatten and Gemm."""

    def __init__(self, model):
        self.model, self.graph = model, model.graph
        self.random = np.random.default_rng([0, *self.graph.name.encode()])
        self.weights = {w.name: numpy_helper.to_array(w) for w in self.graph.initializer}
        self.readers = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.nodes, self.constants = [], {}
        self.scales = {}  # of the integers behind a value
        self.zeros = {}
        self.done = set()  # nodes that went into the one before them

    def only_reader(self, name, *ops):
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op_type in ops else None

    def constant(self, name, array):
        self.constants[name] = np.asarray(array)
        return name

    def quantize(self, value, written, low, high):
        """`written` is computed in floats; the integers stand for `value`."""
        spread = np.float32(self.random.uniform(0.9, 1.1)) if low else np.float32(1)
        scale = np.float32((high - low) * spread / 255)
        self.same(value, written, scale, np.uint8(128 if low else 0))

    def same(self, value, written, scale, zero):
        self.scales[value], self.zeros[value] = scale, zero
        parameters = [self.constant(value + "_scale", scale), self.constant(value + "_zero", zero)]
        self.nodes += [
            helper.make_node("QuantizeLinear", [written, *parameters], [value + "_q"]),
            helper.make_node("DequantizeLinear", [value + "_q", *parameters], [value + "_dq"]),
        ]

    def weight(self, name, array, x, bias):
        """Names of the dequantized weights (one scale for each index of axis 0) and bias."""
        scale = np.abs(array).reshape(array.shape[0], -1).max(axis=1).astype(np.float32) / np.float32(127)
        steps = np.rint(array / scale.reshape(-1, *[1] * (array.ndim - 1)))
        unit = (self.scales[x] * scale).astype(np.float32)
        for kind, q, s in (("w", steps.astype(np.int8), scale), ("b", np.rint(bias / unit).astype(np.int32), unit)):
            inputs = [
                self.constant(f"{name}_{kind}_q", q),
                self.constant(f"{name}_{kind}_scale", s),
                self.constant(f"{name}_{kind}_zero", np.zeros(s.shape, q.dtype)),
            ]
            self.nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}_{kind}"], axis=0))
        return [f"{name}_w", f"{name}_b"]

    def finish(self, node):
        """What follows a sum: the value that its integers stand for, and their range."""
        value, low = node.output[0], -RANGE
        activation = self.only_reader(value, "Relu", "Clip")
        if activation:
            self.done.add(activation.output[0])
            value, low = activation.output[0], 0.0
        self.quantize(value, node.output[0], low, RANGE)

    def product(self, node):
        x, w = node.input[0], self.weights[node.input[1]].astype(np.float64)
        bias = self.weights[node.input[2]].astype(np.float64) if len(node.input) > 2 else np.zeros(w.shape[0])
        norm = self.only_reader(node.output[0], "BatchNormalization")
        if norm:
            gamma, beta, mean, variance = (self.weights[i].astype(np.float64) for i in norm.input[1:])
            gain = gamma / np.sqrt(variance + 1e-5)
            w, bias = w * gain.reshape(-1, 1, 1, 1), (bias - mean) * gain + beta
            self.done.add(norm.output[0])
            node.output[0] = norm.output[0]
        node.input[:] = [x + "_dq", *self.weight(node.output[0], w, x, bias)]
        self.nodes.append(node)
        self.finish(node)

    def convert(self, node):
        if node.op_type in ("Conv", "Gemm"):
            return self.product(node)
        sources = list(node.input)
        node.input[:] = [name + "_dq" for name in sources]
        self.nodes.append(node)
        if node.op_type == "Add":
            return self.finish(node)
        # The others keep the range of what they read.
        return self.same(node.output[0], node.output[0], self.scales[sources[0]], self.zeros[sources[0]])

    def run(self):
        for value in self.graph.input:
            self.quantize(value.name, value.name, -RANGE, RANGE)
        for node in list(self.graph.node):
            if node.output[0] not in self.done:
                self.convert(node)
        for value in self.graph.output:
            self.nodes.append(helper.make_node("Identity", [value.name + "_dq"], [value.name]))
        del self.graph.node[:], self.graph.initializer[:]
        self.rename_outputs()
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in self.constants.items())
        return self.model

    def rename_outputs(self):
        """An output's own name belongs to its dequantized form."""
        wanted = {value.name for value in self.graph.output}
        last = {node.input[0]: node.output[0] for node in self.nodes if node.op_type == "Identity"}
        self.nodes = [node for node in self.nodes if node.op_type != "Identity"]
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [last.get(n, n + "_real" if n in wanted else n) for n in names]


class Quantized:
    """A Graph's interface for its quantized form."""

    def __init__(self, graph):
        self._graph = graph

    def model(self):
        return Quantizer(self._graph.model()).run()

    def samples(self):
        return self._graph.samples()


def resnet50_qdq():
    return Quantized(classifiers.resnet50())


def mobilenetv2_qdq():
    return Quantized(classifiers.mobilenetv2())
