"""Seeded random inputs in the range that each model expects, at several shapes where its shapes are dynamic."""

import zlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont


def uniform(low, high, integral=False):
    def fill(generator, shape, dtype):
        values = generator.uniform(low, high, shape)
        return (np.rint(values) if integral else values).astype(dtype)

    return fill


def normal(scale):
    return lambda generator, shape, dtype: (generator.standard_normal(shape) * scale).astype(dtype)


def ids(count):
    return lambda generator, shape, dtype: generator.integers(0, count, shape).astype(dtype)


def constant(value):
    return lambda generator, shape, dtype: np.full(shape, value, dtype)


def mask(generator, shape, dtype):
    """Ones, then zeros where the sentence has ended; every row keeps at least one token."""
    lengths = generator.integers(1, shape[-1] + 1, (*shape[:-1], 1))
    return (np.arange(shape[-1]) < lengths).astype(dtype)


def blocks(low, high, side=8):
    """NHWC images of flat squares with a little noise: in white noise a segmenter finds nothing anywhere."""

    def fill(generator, shape, dtype):
        n, height, width, channels = shape
        coarse = generator.uniform(low, high, (n, -(-height // side), -(-width // side), channels))
        flat = coarse.repeat(side, 1).repeat(side, 2)[:, :height, :width]
        noise = generator.standard_normal(shape) * (high - low) / 20
        return np.clip(flat + noise, low, high).astype(dtype)

    return fill


def lettering(generator, shape, dtype):
    """Normalised NCHW images with dark random letters on a light ground, for a detector of text."""
    n, channels, height, width = shape
    font = ImageFont.load_default(size=24)
    pages = []
    for _ in range(n):
        page = Image.new("L", (width, height), int(generator.integers(200, 256)))
        draw = ImageDraw.Draw(page)
        for y in range(8, height - 24, 40):
            letters = "".join(chr(c) for c in generator.integers(97, 123, width // 20))
            draw.text((8, y), letters, font=font, fill=int(generator.integers(0, 60)))
        pages.append(np.asarray(page, np.float32) / 255)
    images = np.stack(pages)[:, None].repeat(channels, 1) + generator.standard_normal(shape) / 50
    return ((images - 0.45) / 0.225).astype(dtype)


PIXELS = uniform(0, 255, integral=True)
NORMALISED = uniform(-2, 2.5)  # ImageNet's mean and deviation applied
SIGNED_UNIT = uniform(-1, 1)


def shapes(fill, *several):
    """Cases of a model with one input."""
    return [[(fill, shape)] for shape in several]


def silero(order, batch, samples, rate):
    parts = {
        "input": (normal(0.1), (batch, samples)),
        "state": (normal(0.3), (2, batch, 128)),
        "sr": (constant(rate), ()),
    }
    return [parts[name] for name in order]


def stories(batch, length, past):
    return [(ids(512), (batch, length))] + [(normal(1), (batch, 4, past, 8))] * 10


def sentences(batch, length):
    return [(ids(8000), (batch, length)), (mask, (batch, length))]


# Model -> cases; a case has a filler and a shape for every input, in the order of the file.
CASES = {
    "digits": shapes(uniform(0, 1), (1, 1, 16, 16), (5, 1, 16, 16)),
    "mobilenetv2_fp32": shapes(NORMALISED, (1, 3, 224, 224), (2, 3, 224, 224)),
    "mobilenetv2_int8_qdq": shapes(NORMALISED, (1, 3, 224, 224), (2, 3, 224, 224)),
    "mobilenetv2_int8_qoperator": shapes(NORMALISED, (1, 3, 224, 224), (2, 3, 224, 224)),
    "use_lite": [sentences(1, 1), sentences(1, 12), sentences(2, 9), sentences(5, 31)],
    "stories260k": [stories(1, 1, 0), stories(1, 17, 0), stories(1, 1, 23), stories(2, 3, 5)],
    "yolox_nano": shapes(PIXELS, (1, 3, 416, 416)),
    "ppocrv4_rec": shapes(SIGNED_UNIT, (1, 3, 48, 320), (1, 3, 48, 97), (2, 3, 48, 160)),
    "ppocrv4_det": shapes(lettering, (1, 3, 160, 224), (1, 3, 64, 64), (2, 3, 96, 128)),
    "ppocr_cls": shapes(SIGNED_UNIT, (1, 3, 48, 192), (3, 3, 48, 192)),
    "silero_vad_v5": [
        silero(("input", "state", "sr"), *sizes) for sizes in ((1, 576, 16000), (3, 576, 16000), (1, 288, 8000))
    ],
    "silero_vad_op18_ifless": [
        silero(("input", "sr", "state"), *sizes) for sizes in ((1, 576, 16000), (3, 576, 16000))
    ],
    "kws_dscnn_fp32": shapes(uniform(-123, 26), (1, 49, 10, 1)),
    "kws_dscnn_qdq": shapes(uniform(-123, 26), (1, 49, 10, 1)),
    "resnet8_cifar_fp32": shapes(PIXELS, (1, 3, 32, 32)),
    "resnet8_cifar_int8_b16": shapes(SIGNED_UNIT, (16, 3, 32, 32)),
    "mnist8": shapes(uniform(0, 1), (1, 1, 28, 28)),
    "magika_fast_v2_1": shapes(ids(257), (1, 1024), (4, 1024)),
    "basic_pitch": shapes(normal(0.2), (1, 43844, 1), (2, 43844, 1)),
    "oww_melspectrogram": shapes(normal(3000), (1, 12800), (1, 1760), (2, 4000)),
    "oww_embedding": shapes(uniform(-1, 6), (1, 76, 32, 1), (3, 76, 32, 1)),
    "oww_alexa": shapes(normal(15), (1, 16, 96)),
    "oww_hey_jarvis": shapes(normal(15), (1, 16, 96)),
    "ultraface_rfb_320": shapes(SIGNED_UNIT, (1, 3, 240, 320)),
    "selfie_segmentation": shapes(blocks(0, 1), (1, 256, 256, 3)),
    "mlsd_320_tiny": shapes(PIXELS, (1, 320, 320, 4)),
}


def guess(port):
    """For a model without a row above: extents that are not fixed become 2, floats are normal, integers 0 or 1."""
    shape = tuple(extent if isinstance(extent, int) and extent > 0 else 2 for extent in port.shape)
    return (normal(1) if port.dtype.kind == "f" else ids(2)), shape


def random_feeds(name, ports, seed):
    """Yields (text of the shapes, feeds) for every case of the model."""
    for i, case in enumerate(CASES.get(name) or [[guess(port) for port in ports]]):
        generator = np.random.default_rng([seed, i, zlib.crc32(name.encode())])
        feeds = {
            port.name: np.asarray(fill(generator, shape, port.dtype), order="C")
            for port, (fill, shape) in zip(ports, case, strict=True)
        }
        described = [shape for _, shape in case][:3]
        yield " ".join("x".join(map(str, shape)) or "scalar" for shape in described), feeds
