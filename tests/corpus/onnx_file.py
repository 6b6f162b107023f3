"""Writes ONNX files field by field, well-formed or not, with nothing but Python's own library."""
import struct

FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, STRING, BOOL = 1, 2, 3, 4, 5, 6, 7, 8, 9
FLOAT16, DOUBLE, UINT32, UINT64 = 10, 11, 12, 13
PACK = {FLOAT: "f", UINT8: "B", INT8: "b", UINT16: "H", INT16: "h", INT32: "i", INT64: "q", BOOL: "?",
        FLOAT16: "e", DOUBLE: "d", UINT32: "I", UINT64: "Q"}


def varint(v):
    v &= (1 << 64) - 1
    out = bytearray()
    while v >= 0x80:
        out.append(v & 0x7F | 0x80)
        v >>= 7
    return bytes(out + bytes([v]))


def number(field, v):
    return varint(field << 3) + varint(v)


def block(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


class Tensor:
    """dtype, dims and values (one value stands for all of them)."""

    def __init__(self, dtype, dims, values):
        self.dtype, self.dims = dtype, list(dims)
        count = 1
        for d in self.dims:
            count *= d
        values = values if isinstance(values, (list, tuple)) else [values] * count
        self.raw = struct.pack(f"<{len(values)}{PACK[dtype]}", *values)

    def proto(self, name=""):
        dims = b"".join(number(1, d) for d in self.dims)
        return dims + number(2, self.dtype) + block(8, name) + block(9, self.raw)


def attribute(name, v):
    out = block(1, name)
    if isinstance(v, bool) or isinstance(v, int):
        return out + number(3, int(v)) + number(20, 2)
    if isinstance(v, float):
        return out + varint(2 << 3 | 5) + struct.pack("<f", v) + number(20, 1)
    if isinstance(v, str):
        return out + block(4, v) + number(20, 3)
    if isinstance(v, Tensor):
        return out + block(5, v.proto()) + number(20, 4)
    if isinstance(v, bytes):  # a graph
        return out + block(6, v) + number(20, 5)
    if v and isinstance(v[0], float):
        return out + b"".join(varint(7 << 3 | 5) + struct.pack("<f", f) for f in v) + number(20, 6)
    if v and isinstance(v[0], str):
        return out + b"".join(block(9, s) for s in v) + number(20, 8)
    return out + b"".join(number(8, i) for i in v) + number(20, 7)


def node(op, inputs, outputs, domain="", **attrs):
    out = b"".join(block(1, i) for i in inputs) + b"".join(block(2, o) for o in outputs)
    out += block(3, f"the_{op}") + block(4, op) + block(7, domain)
    return out + b"".join(block(5, attribute(k, v)) for k, v in attrs.items() if v is not None)


def port(name, dtype, dims):
    """dims: ints, or text for an open dimension; None for an unknown rank."""
    shape = b""
    if dims is not None:
        shape = block(2, b"".join(block(1, number(1, d) if isinstance(d, int) else block(2, d)) for d in dims))
    return block(1, name) + block(2, block(1, number(1, dtype) + shape))


def graph(nodes, inputs=(), outputs=(), constants=None):
    """inputs: (name, dtype, dims); outputs: names, or such triples."""
    out = b"".join(block(1, n) for n in nodes) + block(2, "g")
    out += b"".join(block(5, t.proto(name)) for name, t in (constants or {}).items())
    out += b"".join(block(11, port(*i)) for i in inputs)
    return out + b"".join(block(12, block(1, o) if isinstance(o, str) else port(*o)) for o in outputs)


def model(g, opset=17, microsoft=False):
    out = number(1, 8) + block(7, g) + block(8, number(2, opset))
    return out + (block(8, block(1, "com.microsoft") + number(2, 1)) if microsoft else b"")
