"""Measures of accuracy, and how far sampling alone may move them."""

import dataclasses
import math

import numpy as np

Z95 = 1.96  # two-sided 95 % of the normal distribution


@dataclasses.dataclass(frozen=True)
class Metric:
    """`noise` is the half width of the 95 % interval that sampling gives the value: data as small as ours
    cannot tell accuracies apart that are closer than this. `better` is "higher", "lower" or "equal": on which
    side of the expected value a difference beyond the noise is a failure ("equal": on both)."""

    name: str
    value: float
    n: int
    noise: float
    better: str = "higher"

    def meets(self, expected):
        shortfall = {
            "higher": expected - self.value,
            "lower": self.value - expected,
            "equal": abs(self.value - expected),
        }[self.better]
        return bool(shortfall <= self.noise)


def proportion(name, correct, n, better="higher"):
    """A share of n trials; the bound is binomial, with a trial more on either side so that 0 % and 100 % get one."""
    smoothed = (correct + 1) / (n + 2)
    return Metric(name, correct / n, n, Z95 * math.sqrt(smoothed * (1 - smoothed) / n), better)


def exact(name, value, n, tolerance=0.0, better="equal"):
    """A quantity that sampling does not excuse: any difference beyond the tolerance is the engine's."""
    return Metric(name, float(value), n, tolerance, better)


def mean(name, values, better="higher"):
    values = np.asarray(values, np.float64)
    noise = Z95 * values.std(ddof=1) / math.sqrt(len(values))
    return Metric(name, float(values.mean()), len(values), noise, better)


def ranks(values):
    """1-based ranks; equal values share the mean of theirs."""
    values = np.asarray(values)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def correlation(name, x, y):
    """Pearson's coefficient; the bound is the normal approximation (1 - r^2) / sqrt(n - 1)."""
    r = float(np.corrcoef(x, y)[0, 1])
    return Metric(name, r, len(x), Z95 * (1 - r * r) / math.sqrt(len(x) - 1))


def spearman(x, y):
    return correlation("spearman", ranks(x), ranks(y))


def pearson(x, y):
    return correlation("pearson", x, y)


def edit_distance(a, b):
    """Levenshtein: insertions, deletions and substitutions that turn a into b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def intersection_over_union(box, others):
    """box [4], others [n,4] as x1 y1 x2 y2; returns [n]."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(box[2:] - box[:2])
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return common / (area + areas - common + 1e-9)


def non_maximum_suppression(boxes, scores, threshold):
    """Indices of the boxes kept, best first."""
    order = scores.argsort()[::-1]
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[intersection_over_union(boxes[best], boxes[order]) < threshold]
    return kept


def average_precision(detections, truths, overlap=0.5):
    """One class: detections (score, image, box[4]), truths {image: boxes [n,4]}; 101-point interpolation."""
    total = sum(len(boxes) for boxes in truths.values())
    used = {image: np.zeros(len(boxes), bool) for image, boxes in truths.items()}
    hits = []
    for _, image, box in sorted(detections, key=lambda d: -d[0]):
        boxes = truths.get(image)
        hit = False
        if boxes is not None and len(boxes):
            overlaps = intersection_over_union(np.asarray(box), boxes)
            best = int(overlaps.argmax())
            hit = overlaps[best] >= overlap and not used[image][best]
            used[image][best] |= hit
        hits.append(hit)
    if not hits:
        return 0.0
    found = np.cumsum(hits)
    recall, precision = found / total, found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(recall, np.linspace(0, 1, 101))
    return float(np.where(first < len(hits), envelope[np.minimum(first, len(hits) - 1)], 0.0).mean())
