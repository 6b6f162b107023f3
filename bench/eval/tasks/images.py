"""Classification: ImageNet, CIFAR-10, digits (MNIST and the project's own), file contents (magika)."""

import numpy as np
from PIL import Image

import models
from metrics import proportion

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
CIFAR_MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)[:, None, None]
CIFAR_STD = np.array([0.2470, 0.2435, 0.2616], np.float32)[:, None, None]


def read_table(path):
    """Rows of a tab-separated file."""
    return [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]


def centre_crop(path, size=224):
    """RGB f32 [1,3,size,size], normalised with the mean and deviation of ImageNet."""
    image = Image.open(path).convert("RGB")
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
    return np.ascontiguousarray(((pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)[None])


def credit(scores, label):
    """1 where the label alone scores best, 1/k where it shares the best score with others, else 0. Quantized logits
    tie on 4 % of the images: which of them argmax returns is chance, worth 0.8 points to either side."""
    best = np.flatnonzero(scores == scores.max())
    return 1 / len(best) if label in best else 0


def imagenet(context, model):
    folder = context.data / "imagenet500"
    rows = read_table(folder / "labels.tsv")
    first = fifth = 0
    for file, label, *_ in rows:
        scores = context.run(model, centre_crop(folder / file))[0].reshape(-1)
        first += credit(scores, int(label))
        fifth += int(label) in np.argsort(-scores, kind="stable")[:5]
    return [proportion("top1", first, len(rows)), proportion("top5", fifth, len(rows))]


def read_cifar(path):
    """Labels [n] and u8 RGB images [n,3,32,32]."""
    records = np.fromfile(path, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return records[:, 0], records[:, 1:].reshape(-1, 3, 32, 32)


def cifar(context, model, batch, normalise):
    """Whole batches only: the batch of the quantized model is fixed."""
    labels, images = read_cifar(context.data / "cifar10" / "cifar10_1000.bin")
    correct, n = 0, len(labels) // batch * batch
    for i in range(0, n, batch):
        x = normalise(images[i : i + batch].astype(np.float32))
        scores = context.run(model, x)[0].reshape(batch, -1)
        correct += int((scores.argmax(1) == labels[i : i + batch]).sum())
    return [proportion("top1", correct, n)]


def cifar_raw(context, model):
    return cifar(context, model, 1, lambda x: x)


def cifar_normalised(context, model):
    return cifar(context, model, 16, lambda x: (x / 255 - CIFAR_MEAN) / CIFAR_STD)


def read_idx(path):
    """An array in MNIST's IDX format, u8."""
    content = path.read_bytes()
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, 4).astype(int)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def mnist(context, model):
    folder = context.data / "mnist"
    images, labels = read_idx(folder / "images-idx3-ubyte"), read_idx(folder / "labels-idx1-ubyte")
    correct = 0
    for image, label in zip(images, labels, strict=True):
        x = (image.astype(np.float32) / 255).reshape(1, 1, 28, 28)
        correct += int(context.run(model, x)[0].argmax()) == int(label)
    return [proportion("acc", correct, len(labels))]


def digits(context, model):
    images, labels = np.load(models.DIGITS / "test_images.npy"), np.load(models.DIGITS / "test_labels.npy")
    x = images.astype(np.float32) / 255
    found = np.concatenate([context.run(model, x[i : i + 64])[0].argmax(1) for i in range(0, len(x), 64)])
    return [proportion("top1", int((found == labels).sum()), len(labels))]


def magika(context, model):
    folder = context.data / "magika"
    rows = read_table(folder / "labels.tsv")
    correct = 0
    for file, label, *_ in rows:
        x = np.fromfile(folder / file, np.int32)[None]
        correct += int(context.run(model, x)[0].argmax()) == int(label)
    return [proportion("acc", correct, len(rows))]


TASKS = {
    "digits": digits,
    "mobilenetv2_fp32": imagenet,
    "mobilenetv2_int8_qdq": imagenet,
    "mobilenetv2_int8_qoperator": imagenet,
    "resnet8_cifar_fp32": cifar_raw,
    "resnet8_cifar_int8_b16": cifar_normalised,
    "mnist8": mnist,
    "magika_fast_v2_1": magika,
}
