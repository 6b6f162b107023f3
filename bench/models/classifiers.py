"""The classic image classifiers, on one picture of 224 x 224."""

import numpy as np
from graph import Graph


def resnet50():
    g = Graph("resnet50")
    x = g.max_pool(g.conv_bn(g.image(224), 64, 7, 2, g.relu), 3, 2, 1)
    for width, blocks, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            y = g.conv_bn(x, width, 1, 1, g.relu)
            y = g.conv_bn(y, width, 3, stride, g.relu)
            y = g.conv_bn(y, 4 * width, 1, gamma=(0.1, 0.3))
            if block == 0:
                x = g.conv_bn(x, 4 * width, 1, stride, gain=1)
            x = g.relu(g.add(y, x))
    g.output(g.gemm(g.flatten(g.global_average(x)), 1000), "logits")
    return g


def mobilenetv2():
    g = Graph("mobilenetv2")

    def relu6(x):
        return g.like("Clip", x, low, high)

    low, high = g.constant(np.float32(0), "low"), g.constant(np.float32(6), "high")
    x = g.conv_bn(g.image(224), 32, 3, 2, relu6)
    for expand, channels, repeats, first_stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(repeats):
            stride = first_stride if i == 0 else 1
            inner = x.channels * expand
            y = g.conv_bn(x, inner, 1, 1, relu6, gain=1) if expand > 1 else x
            y = g.conv_bn(y, inner, 3, stride, relu6, group=inner)
            y = g.conv_bn(y, channels, 1, gamma=(0.4, 0.8))
            x = g.add(x, y) if y.shape == x.shape else y
    x = g.global_average(g.conv_bn(x, 1280, 1, 1, relu6, gain=1))
    g.output(g.gemm(g.flatten(x), 1000), "logits")
    return g


def densenet121():
    g = Graph("densenet121")

    def bn_relu(x):
        return g.relu(g.batch_norm(x))

    x = g.max_pool(g.conv_bn(g.image(224), 64, 7, 2, g.relu), 3, 2, 1)
    blocks = (6, 12, 24, 16)
    for layers in blocks:
        for _ in range(layers):
            y = g.conv(bn_relu(x), 128, 1, bias=False)
            x = g.concat([x, g.conv(bn_relu(y), 32, 3, bias=False)])
        if layers != blocks[-1]:
            x = g.average_pool(g.conv(bn_relu(x), x.channels // 2, 1, bias=False), 2, 2)
    g.output(g.conv(g.global_average(bn_relu(x)), 1000, 1), "logits")
    return g


def inception_v1():
    g = Graph("inception_v1")

    def conv(x, *arguments, **options):
        return g.relu(g.conv(x, *arguments, **options))

    def lrn(x):
        return g.like("LRN", x, size=5, alpha=1e-4, beta=0.75, bias=1.0)

    def pool(x):  # extents halve, rounding up
        return g.max_pool(x, 3, 2, 1)

    def module(x, one, three_in, three, five_in, five, projection):
        return g.concat(
            [
                conv(x, one, 1),
                conv(conv(x, three_in, 1), three, 3),
                conv(conv(x, five_in, 1), five, 5),
                conv(g.max_pool(x, 3, 1, 1), projection, 1),
            ]
        )

    x = lrn(pool(conv(g.image(224), 64, 7, 2)))
    x = pool(lrn(conv(conv(x, 64, 1), 192, 3)))
    for stage in (
        ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
        (
            (192, 96, 208, 16, 48, 64),
            (160, 112, 224, 24, 64, 64),
            (128, 128, 256, 24, 64, 64),
            (112, 144, 288, 32, 64, 64),
            (256, 160, 320, 32, 128, 128),
        ),
        ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
    ):
        if stage[0][0] != 64:
            x = pool(x)
        for widths in stage:
            x = module(x, *widths)
    x = g.flatten(g.average_pool(x, 7, 1))
    g.output(g.softmax(g.gemm(x, 1000, gain=0.5)), "probabilities")
    return g


def squeezenet():
    """Version 1.1."""
    g = Graph("squeezenet")

    def conv(x, *arguments, **options):
        return g.relu(g.conv(x, *arguments, **options))

    def fire(x, squeeze, expand):
        x = conv(x, squeeze, 1)
        return g.concat([conv(x, expand, 1), conv(x, expand, 3)])

    x = g.max_pool(conv(g.image(224), 64, 3, 2, pad=0), 3, 2)
    x = g.max_pool(fire(fire(x, 16, 64), 16, 64), 3, 2)
    x = g.max_pool(fire(fire(x, 32, 128), 32, 128), 3, 2)
    for squeeze in (48, 48, 64, 64):
        x = fire(x, squeeze, 4 * squeeze)
    x = g.global_average(conv(x, 1000, 1))
    g.output(g.softmax(g.flatten(x)), "probabilities")
    return g


def shufflenet():
    """ShuffleNet v1 with 4 groups, in the widths of the ONNX zoo."""
    g = Graph("shufflenet")
    groups = 4

    def shuffle(x):
        n, c, h, w = x.shape
        x = g.reshape(x, (n, groups, c // groups, h, w))
        return g.reshape(g.transpose(x, (0, 2, 1, 3, 4)), (n, c, h, w))

    x = g.max_pool(g.conv_bn(g.image(224), 24, 3, 2, g.relu), 3, 2, 1)
    for width, blocks in ((136, 4), (272, 8), (544, 4)):
        for block in range(blocks):
            stride = 2 if block == 0 else 1
            inner = width - x.channels if stride == 2 else width
            y = shuffle(g.conv_bn(x, inner, 1, 1, g.relu, group=groups))
            y = g.conv_bn(y, inner, 3, stride, group=inner)
            y = g.conv_bn(y, inner, 1, group=groups, gain=1, gamma=(0.3, 0.6))
            if stride == 2:
                x = g.relu(g.concat([g.average_pool(x, 3, 2, 1), y]))
            else:
                x = g.relu(g.add(x, y))
    x = g.flatten(g.average_pool(x, 7, 1))
    g.output(g.softmax(g.gemm(x, 1000, gain=0.5)), "probabilities")
    return g


def vgg19():
    g = Graph("vgg19")
    x = g.image(224)
    for width, layers in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(layers):
            x = g.relu(g.conv(x, width, 3))
        x = g.max_pool(x, 2, 2)
    x = g.flatten(x)
    for _ in range(2):
        x = g.relu(g.gemm(x, 4096))
    g.output(g.gemm(x, 1000), "logits")
    return g
