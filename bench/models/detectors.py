"""A one-stage detector in the manner of YOLOv8 nano: SiLU, split-and-concatenate blocks, a pyramid, decoded boxes."""

import numpy as np
from graph import Graph

BINS = 16  # of the distribution over each side of a box


def block(g, x, channels, repeats, shortcut):
    """Half of the channels pass through a chain of bottlenecks, and every stage is kept."""
    parts = g.split(g.conv_bn(x, channels, 1, 1, g.silu), 2)
    for _ in range(repeats):
        y = g.conv_bn(g.conv_bn(parts[-1], channels // 2, 3, 1, g.silu), channels // 2, 3, 1, g.silu)
        parts.append(g.add(parts[-1], y) if shortcut else y)
    return g.conv_bn(g.concat(parts), channels, 1, 1, g.silu)


def pyramid_pool(g, x):
    x = g.conv_bn(x, x.channels // 2, 1, 1, g.silu)
    stages = [x]
    for _ in range(3):
        stages.append(g.max_pool(stages[-1], 5, 1, 2))
    return g.conv_bn(g.concat(stages), 2 * x.channels, 1, 1, g.silu)


def upsample(g, x):
    scales = g.constant(np.array([1, 1, 2, 2], np.float32), "scales")
    empty = g.constant(np.zeros(0, np.float32), "roi")
    n, c, h, w = x.shape
    return g.node(
        "Resize",
        [x, empty, scales],
        (n, c, 2 * h, 2 * w),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def head(g, x, classes):
    def branch(width, outputs):
        y = g.conv_bn(g.conv_bn(x, width, 3, 1, g.silu), width, 3, 1, g.silu)
        return g.conv(y, outputs, 1)

    y = g.concat([branch(64, 4 * BINS), branch(80, classes)])
    return g.reshape(y, (1, y.channels, y.shape[2] * y.shape[3]))


def anchors(side):
    points, strides = [], []
    for stride in (8, 16, 32):
        cells = side // stride
        row, column = np.mgrid[:cells, :cells]
        points.append(np.stack([column.ravel(), row.ravel()]) + 0.5)
        strides.append(np.full((1, cells * cells), stride))
    return np.concatenate(points, 1)[None].astype(np.float32), np.concatenate(strides, 1)[None].astype(np.float32)


def decode(g, x, side, classes):
    """The expected distance to each side of the box, then centre and extent in pixels, then the classes' scores."""
    count = x.shape[2]
    sizes = g.constant(np.array([4 * BINS, classes], np.int64), "sizes")
    sides, scores = g.nodes("Split", [x, sizes], [(1, 4 * BINS, count), (1, classes, count)], axis=1)
    sides = g.transpose(g.reshape(sides, (1, 4, BINS, count)), (0, 2, 1, 3))
    bins = g.constant(np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1), "bins")
    shape = (1, 1, 4, count)
    likely = g.like("Softmax", sides, axis=1)
    distances = g.reshape(g.node("Conv", [likely, bins], shape, kernel_shape=[1, 1]), (1, 4, count))
    low, high = g.split(distances, 2)
    points, strides = (g.constant(a, "anchors") for a in anchors(side))
    low, high = g.node("Sub", [points, low], low.shape), g.add(points, high)
    centre, extent = g.scalar("Mul", g.add(low, high), 0.5), g.like("Sub", high, low)
    boxes = g.concat([centre, extent])
    return g.concat([g.like("Mul", boxes, strides), g.like("Sigmoid", scores)])


def yolo(side=416, classes=80):
    g = Graph("yolo")
    x = g.conv_bn(g.image(side), 16, 3, 2, g.silu)
    stages = []
    for channels, repeats in ((32, 1), (64, 2), (128, 2), (256, 1)):
        x = block(g, g.conv_bn(x, channels, 3, 2, g.silu), channels, repeats, shortcut=True)
        stages.append(x)
    fine, middle, coarse = stages[1], stages[2], pyramid_pool(g, stages[3])
    middle = block(g, g.concat([upsample(g, coarse), middle]), 128, 1, shortcut=False)
    fine = block(g, g.concat([upsample(g, middle), fine]), 64, 1, shortcut=False)
    middle = block(g, g.concat([g.conv_bn(fine, 64, 3, 2, g.silu), middle]), 128, 1, shortcut=False)
    coarse = block(g, g.concat([g.conv_bn(middle, 128, 3, 2, g.silu), coarse]), 256, 1, shortcut=False)
    x = g.concat([head(g, level, classes) for level in (fine, middle, coarse)], axis=2)
    g.output(decode(g, x, side, classes), "detections")
    return g
