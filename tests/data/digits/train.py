"""Trains the digit classifier of the demo and writes every file of this folder.

    third_party/python/venv.sh third_party/python/training.txt
    .venv/bin/python tests/data/digits/train.py      # under two minutes on one core

The seed fixes the split, the initial weights, the order and the augmentation; another CPU or another
version of the libraries may still round differently, so the weights in the repository are the record.
"""

import argparse
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

SIZE = 16  # pixels on a side after enlarging the 8x8 originals
TEST_IMAGES = 797  # the remaining 1,000 train; the first 200 of them also serve as calibration data
CALIBRATION_IMAGES = 200
BN_EPSILON = 1e-5


def enlarge(images):
    """8x8 values 0..16 to 16x16 u8, bilinear with half-pixel centres."""
    source = (np.arange(SIZE) + 0.5) / 2 - 0.5
    low = np.clip(np.floor(source).astype(int), 0, 7)
    high = np.clip(low + 1, 0, 7)
    weight = np.clip(source - low, 0, 1)
    rows = images[:, low] * (1 - weight)[:, None] + images[:, high] * weight[:, None]
    both = rows[:, :, low] * (1 - weight) + rows[:, :, high] * weight
    return np.rint(both * (255 / 16)).astype(np.uint8)[:, None]


def load_split(seed):
    """Returns (train, test) pairs of (u8 [N,1,16,16], u8 [N])."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images, labels = enlarge(digits.images)[order], digits.target[order].astype(np.uint8)
    cut = len(labels) - TEST_IMAGES
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])


def augment(key, images):
    """Random rotation, scale, shear and shift of each image, and a little noise."""
    count = images.shape[0]
    keys = jax.random.split(key, 5)
    angle = jax.random.uniform(keys[0], (count,), minval=-0.25, maxval=0.25)
    scale = jax.random.uniform(keys[1], (count,), minval=0.88, maxval=1.14)
    shear = jax.random.uniform(keys[2], (count,), minval=-0.2, maxval=0.2)
    shift = jax.random.uniform(keys[3], (count, 2), minval=-1.5, maxval=1.5)
    centre = (SIZE - 1) / 2
    y, x = jnp.meshgrid(jnp.arange(SIZE) - centre, jnp.arange(SIZE) - centre, indexing="ij")

    def warp(image, angle, scale, shear, shift):
        cos, sin = jnp.cos(angle) * scale, jnp.sin(angle) * scale
        rows = cos * y + (sin + shear) * x + centre + shift[0]
        columns = -sin * y + cos * x + centre + shift[1]
        return jax.scipy.ndimage.map_coordinates(image, [rows, columns], order=1)

    warped = jax.vmap(warp)(images[:, 0], angle, scale, shear, shift)[:, None]
    return warped + 0.03 * jax.random.normal(keys[4], warped.shape)


# The network as data; training and export both walk this table. name: in, out, kernel, stride, groups
CONVOLUTIONS = {
    "stem": (1, 12, 3, 1, 1),
    "residual_a": (12, 12, 3, 1, 1),
    "residual_b": (12, 12, 3, 1, 1),
    "depthwise1": (12, 12, 3, 2, 12),
    "pointwise1": (12, 24, 1, 1, 1),
    "depthwise2": (24, 24, 3, 1, 24),
    "pointwise2": (24, 40, 1, 1, 1),
}
FEATURES, CLASSES = 40, 10


def forward(ops, x):
    """The topology, written over an abstract set of operations (JAX arrays or ONNX nodes)."""
    x = ops.relu(ops.convolution("stem", x))
    inner = ops.relu(ops.convolution("residual_a", x))
    x = ops.relu(ops.add(ops.convolution("residual_b", inner), x))
    x = ops.relu(ops.convolution("depthwise1", x))
    x = ops.relu(ops.convolution("pointwise1", x))
    x = ops.max_pool(x)
    x = ops.relu(ops.convolution("depthwise2", x))
    x = ops.relu(ops.convolution("pointwise2", x))
    return ops.classify(ops.global_average_pool(x))


class Jax:
    """Runs the topology; `batch_statistics` collects the normalisation's mean and variance."""

    def __init__(self, weights, moving=None):
        self.weights, self.moving, self.batch_statistics = weights, moving, {}

    def convolution(self, name, x):
        _, _, kernel, stride, groups = CONVOLUTIONS[name]
        pad = kernel // 2
        y = jax.lax.conv_general_dilated(
            x, self.weights[name]["kernel"], (stride, stride), [(pad, pad)] * 2, feature_group_count=groups
        )
        if self.moving is None:
            mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3))
            self.batch_statistics[name] = {"mean": mean, "variance": variance}
        else:
            mean, variance = self.moving[name]["mean"], self.moving[name]["variance"]
        scale = self.weights[name]["scale"] / jnp.sqrt(variance + BN_EPSILON)
        shift = self.weights[name]["shift"] - mean * scale
        return y * scale[:, None, None] + shift[:, None, None]

    def relu(self, x):
        return jax.nn.relu(x)

    def add(self, a, b):
        return a + b

    def max_pool(self, x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))

    def global_average_pool(self, x):
        return x.mean((2, 3))

    def classify(self, x):
        return x @ self.weights["classifier"]["kernel"].T + self.weights["classifier"]["bias"]


class Onnx:
    """Writes the topology as nodes; `x` is a value's name."""

    def __init__(self, weights, moving):
        self.weights, self.moving, self.nodes, self.initializers = weights, moving, [], []

    def node(self, op, inputs, output=None, **attributes):
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output or name], name=name, **attributes))
        return output or name

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def convolution(self, name, x):
        _, _, kernel, stride, groups = CONVOLUTIONS[name]
        weight = self.constant(f"{name}.kernel", self.weights[name]["kernel"])
        y = self.node(
            "Conv", [x, weight], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups
        )
        parameters = [
            self.constant(f"{name}.scale", self.weights[name]["scale"]),
            self.constant(f"{name}.shift", self.weights[name]["shift"]),
            self.constant(f"{name}.mean", self.moving[name]["mean"]),
            self.constant(f"{name}.variance", self.moving[name]["variance"]),
        ]
        return self.node("BatchNormalization", [y, *parameters], epsilon=BN_EPSILON)

    def relu(self, x):
        return self.node("Relu", [x])

    def add(self, a, b):
        return self.node("Add", [a, b])

    def max_pool(self, x):
        return self.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])

    def global_average_pool(self, x):
        return self.node("Flatten", [self.node("GlobalAveragePool", [x])], axis=1)

    def classify(self, x):
        weight = self.constant("classifier.kernel", self.weights["classifier"]["kernel"])
        bias = self.constant("classifier.bias", self.weights["classifier"]["bias"])
        logits = self.node("Gemm", [x, weight, bias], transB=1)
        return self.node("Softmax", [logits], output="probabilities", axis=1)


def initial_weights(key):
    weights = {}
    for name, (inputs, outputs, kernel, _, groups) in CONVOLUTIONS.items():
        key, own = jax.random.split(key)
        fan_in = inputs // groups * kernel * kernel
        shape = (outputs, inputs // groups, kernel, kernel)
        weights[name] = {
            "kernel": jax.random.normal(own, shape) * np.sqrt(2 / fan_in),
            "scale": jnp.ones(outputs),
            "shift": jnp.zeros(outputs),
        }
    own = jax.random.split(key)[1]
    weights["classifier"] = {
        "kernel": jax.random.normal(own, (CLASSES, FEATURES)) * np.sqrt(1 / FEATURES),
        "bias": jnp.zeros(CLASSES),
    }
    return weights


def loss(weights, x, labels):
    network = Jax(weights)
    log_probabilities = jax.nn.log_softmax(forward(network, x))
    targets = jax.nn.one_hot(labels, CLASSES) * 0.95 + 0.05 / CLASSES
    decay = sum(jnp.sum(layer["kernel"] ** 2) for layer in weights.values())
    return -(targets * log_probabilities).sum(1).mean() + 1e-4 * decay, network.batch_statistics


@jax.jit
def step(state, key, rate, x, labels):
    """One step of Adam, with the moving statistics of the normalisation alongside."""
    weights, first, second, moving, count = state
    (value, seen), gradient = jax.value_and_grad(loss, has_aux=True)(weights, augment(key, x), labels)
    count += 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)

    def update(w, m, v):
        return w - rate * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)

    weights = jax.tree.map(update, weights, first, second)
    moving = jax.tree.map(lambda old, new: 0.95 * old + 0.05 * new, moving, seen)
    return (weights, first, second, moving, count), value


def train(images, labels, seed, epochs, batch=50):
    weights = initial_weights(jax.random.key(seed))
    x = jnp.asarray(images, jnp.float32) / 255
    y = jnp.asarray(labels)
    zeros = jax.tree.map(jnp.zeros_like, weights)
    moving = loss(weights, x[:batch], y[:batch])[1]
    state = (weights, zeros, zeros, moving, 0)
    order = np.random.default_rng(seed + 1)
    steps = len(labels) // batch
    for epoch in range(epochs):
        shuffled = order.permutation(len(labels))
        for i in range(steps):
            progress = (epoch * steps + i) / (epochs * steps)
            rate = 4e-3 * 0.5 * (1 + np.cos(np.pi * progress))
            key = jax.random.key(seed * 1_000_003 + epoch * steps + i)
            chosen = shuffled[i * batch : (i + 1) * batch]
            state, value = step(state, key, rate, x[chosen], y[chosen])
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}  loss {float(value):.4f}")
    return jax.tree.map(np.asarray, state[0]), jax.tree.map(np.asarray, state[3])


def export(weights, moving, path):
    writer = Onnx(weights, moving)
    output = forward(writer, "images")
    shape = ["batch", 1, SIZE, SIZE]
    graph = helper.make_graph(
        writer.nodes,
        "digits",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", CLASSES])],
        writer.initializers,
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="skyline-digits")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def run_ort(path, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, {"images": x})[0]


def write_tensor(path, array, name):
    path.write_bytes(numpy_helper.from_array(array, name).SerializeToString())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = options.output
    (folder / "test_data_set_0").mkdir(parents=True, exist_ok=True)

    (train_x, train_y), (test_x, test_y) = load_split(options.seed)
    weights, moving = train(train_x, train_y, options.seed, options.epochs)
    model = str(folder / "model.onnx")
    export(weights, moving, model)

    np.save(folder / "test_images.npy", test_x)
    np.save(folder / "test_labels.npy", test_y)
    np.save(folder / "calibration_images.npy", train_x[:CALIBRATION_IMAGES])
    np.save(folder / "calibration_labels.npy", train_y[:CALIBRATION_IMAGES])
    x = test_x.astype(np.float32) / 255
    write_tensor(folder / "test_data_set_0" / "input_0.pb", x[:4], "images")
    write_tensor(folder / "test_data_set_0" / "output_0.pb", run_ort(model, x[:4]), "probabilities")

    correct = int((run_ort(model, x).argmax(1) == test_y).sum())
    train_accuracy = float((run_ort(model, train_x.astype(np.float32) / 255).argmax(1) == train_y).mean())
    expected = {"digits": {"top1": correct / len(test_y), "n": len(test_y), "onnxruntime": ort.__version__}}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    parameters = sum(w.size for layer in weights.values() for w in layer.values())
    print(f"test {correct}/{len(test_y)} = {correct / len(test_y):.4f}, train {train_accuracy:.4f}, {parameters} parameters")


if __name__ == "__main__":
    main()
