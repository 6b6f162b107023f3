"""Models in 8 bits, as quantizers write them. The classifiers: QuantizeLinear and DequantizeLinear around float
operators. The encoder's products with weights: so, too, or on integers whose scale is found at every run.

Activations are u8 with one scale, weights i8 with a scale per output channel, a bias is i32 in units of both scales
(ONNX Runtime fuses no other). BatchNormalization is folded into the convolution before it; a Relu or Clip that the
range of the integers implies is left out.
"""

import classifiers
import numpy as np
import transformers
from onnx import TensorProto, helper, numpy_helper

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


class Products:
    """Rewrites the products of a ModelProto with constant weights (MatMul); i8 weights with a scale per column."""

    def __init__(self, model):
        self.graph, self.model = model.graph, model
        self.weights = {w.name: w for w in self.graph.initializer}
        self.nodes, self.quantized = [], set()

    def constant(self, name, array):
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, name):
        """Names of integers, scales and zero points in place of the weights."""
        tensor = self.weights[name]
        w = numpy_helper.to_array(tensor)
        scale = (np.abs(w).max(axis=0) / 127).astype(np.float32)
        self.graph.initializer.remove(tensor)
        return [
            self.constant(name + "_q", np.rint(w / scale).astype(np.int8)),
            self.constant(name + "_scale", scale),
            self.constant(name + "_zero", np.zeros(scale.shape, np.int8)),
        ]

    def run(self):
        for node in self.graph.node:
            if node.op_type == "MatMul" and node.input[1] in self.weights:
                self.product(node)
            else:
                self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        return self.model


class Dynamic(Products):
    """DynamicQuantizeLinear, MatMulInteger and what makes floats of its sums."""

    def product(self, node):
        x, y = node.input[0], node.output[0]
        if x not in self.quantized:
            self.quantized.add(x)
            outputs = [x + "_q", x + "_scale", x + "_zero"]
            self.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], outputs))
        w, scale, zero = self.weight(node.input[1])
        self.nodes += [
            helper.make_node("MatMulInteger", [x + "_q", w, x + "_zero", zero], [y + "_sum"]),
            helper.make_node("Cast", [y + "_sum"], [y + "_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [x + "_scale", scale], [y + "_unit"]),
            helper.make_node("Mul", [y + "_float", y + "_unit"], [y]),
        ]


class Static(Products):
    """QuantizeLinear and DequantizeLinear in front of the product, with the range of a variance near 1."""

    def product(self, node):
        x = node.input[0]
        if x not in self.quantized:
            self.quantized.add(x)
            parameters = [
                self.constant(x + "_scale", np.float32(2 * RANGE / 255)),
                self.constant(x + "_zero", np.uint8(128)),
            ]
            self.nodes += [
                helper.make_node("QuantizeLinear", [x, *parameters], [x + "_q"]),
                helper.make_node("DequantizeLinear", [x + "_q", *parameters], [x + "_dq"]),
            ]
        name = node.input[1]
        self.nodes.append(helper.make_node("DequantizeLinear", self.weight(name), [name], axis=1))
        node.input[0] = x + "_dq"
        self.nodes.append(node)


class Quantized:
    """A Graph's interface for its quantized form."""

    def __init__(self, graph, quantizer=Quantizer):
        self._graph, self._quantizer = graph, quantizer

    def model(self):
        return self._quantizer(self._graph.model()).run()

    def samples(self):
        return self._graph.samples()


def resnet50_qdq():
    return Quantized(classifiers.resnet50())


def mobilenetv2_qdq():
    return Quantized(classifiers.mobilenetv2())


def bert_base_dynamic():
    return Quantized(transformers.bert_base(), Dynamic)


def bert_base_qdq():
    return Quantized(transformers.bert_base(), Static)
