"""An encoder and a decoder, written node by node as exporters write them."""

import math

import numpy as np
from graph import Graph


def heads_first(g, x, heads):
    """(1, length, width) to (1, heads, length, width / heads)."""
    n, length, width = x.shape
    return g.transpose(g.reshape(x, (n, length, heads, width // heads)), (0, 2, 1, 3))


def heads_last(g, x):
    n, heads, length, depth = x.shape
    return g.reshape(g.transpose(x, (0, 2, 1, 3)), (n, length, heads * depth))


def gelu_erf(g, x):
    y = g.scalar("Add", g.like("Erf", g.scalar("Div", x, math.sqrt(2))), 1)
    return g.scalar("Mul", g.like("Mul", x, y), 0.5)


def gelu_tanh(g, x):
    cube = g.scalar("Pow", x, 3)
    inner = g.scalar("Mul", g.add(x, g.scalar("Mul", cube, 0.044715)), math.sqrt(2 / math.pi))
    return g.like("Mul", g.scalar("Mul", x, 0.5), g.scalar("Add", g.like("Tanh", inner), 1))


def embedding(g, count, width, indices):
    table = g.constant(g.normal((count, width), 0.5), "table")
    return g.node("Gather", [table, indices], (*indices.shape, width), axis=0)


def bert_base(length=128, width=768, heads=12, layers=12, vocabulary=30522):
    g = Graph("bert_base")
    shape = (1, length)
    mask = (np.arange(length) < length - length // 8).astype(np.int64)[None]
    ids = g.input("input_ids", shape, g.random.integers(0, vocabulary, shape))
    attend = g.input("attention_mask", shape, mask)
    kinds = g.input("token_type_ids", shape, np.zeros(shape, np.int64))

    place = g.constant(g.normal((1, length, width), 0.5), "positions")
    x = g.add(embedding(g, vocabulary, width, ids), embedding(g, 2, width, kinds))
    x = g.layer_norm(g.add(x, place))

    axes = g.constant(np.array([1, 2], np.int64), "axes")
    wide = g.node("Cast", [g.node("Unsqueeze", [attend, axes], (1, 1, 1, length))], (1, 1, 1, length), to=1)
    one = g.constant(np.float32(1), "one")
    bias = g.scalar("Mul", g.node("Sub", [one, wide], wide.shape), -10000)

    for _ in range(layers):
        query, key, value = (heads_first(g, g.linear(x, width), heads) for _ in range(3))
        scores = g.matmul(query, g.transpose(key, (0, 1, 3, 2)))
        scores = g.add(g.scalar("Div", scores, math.sqrt(width // heads)), bias)
        mixed = heads_last(g, g.matmul(g.softmax(scores), value))
        x = g.layer_norm(g.add(g.linear(mixed, width), x))
        inner = gelu_erf(g, g.linear(x, 4 * width))
        x = g.layer_norm(g.add(g.linear(inner, width, scale=2), x))
    first = g.node("Gather", [x, g.constant(np.int64(0), "first")], (1, width), axis=1)
    g.output(x, "last_hidden_state")
    g.output(g.like("Tanh", g.gemm(first, width, gain=1)), "pooler_output")
    return g


def decoder(past=256, width=512, heads=8, layers=8, vocabulary=16384):
    """One step of generation: a token in, its logits and the grown caches out. The length of the past is symbolic."""
    g = Graph("decoder")
    ids = g.input("input_ids", (1, 1), g.random.integers(0, vocabulary, (1, 1)))
    place = g.input("position_ids", (1, 1), np.array([[past]]))
    x = g.add(embedding(g, vocabulary, width, ids), embedding(g, 1024, width, place))
    for layer in range(layers):
        shape = (1, heads, past, width // heads)
        caches = [
            g.input(f"past_{layer}_{part}", shape, g.normal(shape), symbolic={2: "past"}) for part in ("key", "value")
        ]
        y = g.layer_norm(x)
        query, key, value = (heads_first(g, part, heads) for part in g.split(g.linear(y, 3 * width), 3, axis=2))
        key, value = g.concat([caches[0], key], axis=2), g.concat([caches[1], value], axis=2)
        g.output(key, f"present_{layer}_key", symbolic={2: "past+1"})
        g.output(value, f"present_{layer}_value", symbolic={2: "past+1"})
        scores = g.matmul(query, g.transpose(key, (0, 1, 3, 2)))
        scores = g.scalar("Mul", scores, 1 / math.sqrt(width // heads))
        x = g.add(x, g.linear(heads_last(g, g.matmul(g.softmax(scores), value)), width))
        x = g.add(x, g.linear(gelu_tanh(g, g.linear(g.layer_norm(x), 4 * width)), width, scale=2))
    weights = g.constant(g.normal((width, vocabulary), 1 / math.sqrt(width)))
    g.output(g.matmul(g.layer_norm(x), weights), "logits")
    return g
