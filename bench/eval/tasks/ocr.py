"""Text recognition: a line image to characters."""

import numpy as np
from PIL import Image

import metrics
from tasks.images import read_table

HEIGHT = 48


def line(path):
    """BGR f32 [1,3,48,w] in -1..1."""
    image = Image.open(path).convert("RGB")
    width = max(1, round(HEIGHT * image.width / image.height))
    pixels = np.asarray(image.resize((width, HEIGHT), Image.BILINEAR), np.float32)[:, :, ::-1]
    return np.ascontiguousarray(((pixels / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None])


def decode(scores, characters):
    """Greedy CTC: the best class of every step, repetitions merged, class 0 (blank) dropped."""
    best = scores.argmax(1)
    changed = np.append(True, best[1:] != best[:-1])
    return "".join(characters[c] for c in best[changed & (best != 0)])


def recognition(context, model):
    folder = context.data / "ocr_lines"
    keys = (folder / "ppocr_keys_v1.txt").read_text(encoding="utf-8").split("\n")
    characters = ["", *(key.rstrip("\r") for key in keys if key), " "]
    rows = read_table(folder / "labels.tsv")
    exact = errors = letters = 0
    for file, text in rows:
        found = decode(context.run(model, line(folder / file))[0][0], characters)
        exact += found.strip() == text.strip()
        errors += metrics.edit_distance(found.strip(), text.strip())
        letters += len(text.strip())
    return [
        metrics.proportion("exact_after_strip", exact, len(rows)),
        metrics.proportion("cer", errors, letters, "lower"),
    ]


TASKS = {"ppocrv4_rec": recognition}
