"""Object detection: YOLOX on COCO images."""

import dataclasses

import numpy as np
from PIL import Image

import metrics
from tasks.images import read_table

SIZE = 416
STRIDES = (8, 16, 32)
CLASSES = 80


def letterbox(image):
    """Resized into the top left corner, the rest 114; BGR f32 [1,3,416,416] of 0..255, and the scale."""
    scale = min(SIZE / image.width, SIZE / image.height)
    resized = image.resize((int(image.width * scale), int(image.height * scale)), Image.BILINEAR)
    canvas = np.full((SIZE, SIZE, 3), 114, np.float32)
    canvas[: resized.height, : resized.width] = np.asarray(resized, np.float32)
    return np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1)[None]), scale


def anchors():
    """Centre (x, y in cells) and stride of every prediction, in the order of the model's output."""
    cells, strides = [], []
    for stride in STRIDES:
        n = SIZE // stride
        y, x = np.mgrid[:n, :n]
        cells.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((n * n, 1), stride))
    return np.concatenate(cells), np.concatenate(strides)


def decode(output, scale):
    """Boxes [n,4] in pixels of the original image, and scores [n,80]."""
    cells, strides = anchors()
    centre = (output[:, :2] + cells) * strides
    size = np.exp(output[:, 2:4]) * strides
    boxes = np.concatenate([centre - size / 2, centre + size / 2], 1) / scale
    return boxes, output[:, 4:5] * output[:, 5:]


def detect(boxes, scores, least=0.05, overlap=0.65):
    """(class, score, box) of what is left when every class has had its overlapping boxes suppressed."""
    classes, best = scores.argmax(1), scores.max(1)
    found = []
    for c in np.unique(classes[best > least]):
        chosen = np.where((best > least) & (classes == c))[0]
        kept = metrics.non_maximum_suppression(boxes[chosen], best[chosen], overlap)
        found += [(int(c), float(best[i]), boxes[i]) for i in chosen[kept]]
    return found


def yolox(context, model):
    folder = context.data / "coco_val64"
    truths = [{} for _ in range(CLASSES)]
    sizes, labelled = {}, 0
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as image:
            sizes[path.name] = image.size
    for file, c, *corners in read_table(folder / "boxes.tsv"):
        box = np.array(corners, float) * np.array(sizes[file] * 2)
        truths[int(c)].setdefault(file, []).append(box)
        labelled += 1
    truths = [{file: np.stack(boxes) for file, boxes in each.items()} for each in truths]

    detections = [[] for _ in range(CLASSES)]
    for file in sizes:
        x, scale = letterbox(Image.open(folder / file).convert("RGB"))
        boxes, scores = decode(context.run(model, x)[0][0], scale)
        for c, score, box in detect(boxes, scores):
            detections[c].append((score, file, box))
    precisions = [metrics.average_precision(detections[c], truths[c]) for c in range(CLASSES) if truths[c]]
    # A mean over classes of a ratio over boxes: the bound of a proportion of all boxes stands in for it.
    average = float(np.mean(precisions))
    return [dataclasses.replace(metrics.proportion("AP50_macro", average * labelled, labelled), value=average)]


TASKS = {"yolox_nano": yolox}
