"""Writes the labelled data of the models as files that `skyline quantize`, `sensitivity` and `optimize` read.

    .venv/bin/python bench/eval/datasets.py --output DIR                       all that there is data for
    .venv/bin/python bench/eval/datasets.py --output DIR --model use_lite mnist8

DIR/NAME.npz has one array per input and `labels`, a row per example; where the examples differ in shape DIR/NAME is a
folder of such files. Archives are not compressed, so that rows can be read one by one. Images of ImageNet are written
normalised; the folder itself, with --crop 224 and the mean and deviation of ImageNet, gives the same examples.
"""

import pathlib
import sys

import numpy as np

import command
import models
from session import open_session
from tasks import audio, detection, images, ocr, text


def imagenet(collection, _):
    folder = collection.data / "imagenet500"
    rows = images.read_table(folder / "labels.tsv")
    return {
        "input": np.concatenate([images.centre_crop(folder / file) for file, *_ in rows]),
        "labels": np.array([int(label) for _, label, *_ in rows]),
    }


def cifar(collection, _):
    labels, pixels = images.read_cifar(collection.data / "cifar10" / "cifar10_1000.bin")
    return {"input": pixels.astype(np.float32), "labels": labels.astype(np.int64)}


def mnist(collection, _):
    folder = collection.data / "mnist"
    pixels = images.read_idx(folder / "images-idx3-ubyte").astype(np.float32) / 255
    return {"Input3": pixels[:, None], "labels": images.read_idx(folder / "labels-idx1-ubyte").astype(np.int64)}


def digits(_, __):
    pixels = np.load(models.DIGITS / "test_images.npy").astype(np.float32) / 255
    return {"images": pixels, "labels": np.load(models.DIGITS / "test_labels.npy").astype(np.int64)}


def keywords(collection, _):
    records = np.fromfile(collection.data / "kws01" / "kws01_500.bin", np.uint8).reshape(-1, 1 + 490)
    x = (records[:, 1:].view(np.int8).astype(np.float32) - 83) * np.float32(0.5847029089927673)
    return {"input": x.reshape(-1, 49, 10, 1), "labels": records[:, 0].astype(np.int64)}


def sentences(collection, _):
    """Pairs of sentences as a batch of two, all padded to the longest; the label is their similarity."""
    rows = images.read_table(collection.data / "stsb" / "sts-dev.tsv")[1:]
    pairs = [[[int(t) for t in ids.split()] for ids in row[3:5]] for row in rows]
    ids, mask = text.pad([sentence for pair in pairs for sentence in pair])
    shape = (len(pairs), 2, -1)
    return {
        "input_ids": ids.reshape(shape),
        "attention_mask": mask.reshape(shape),
        "labels": np.array([float(row[0]) for row in rows], np.float32),
    }


def lines(collection, output):
    """Every line has its own width: a file each, the label being the classes of its characters."""
    folder = collection.data / "ocr_lines"
    keys = (folder / "ppocr_keys_v1.txt").read_text(encoding="utf-8").split("\n")
    classes = {key.rstrip("\r"): i + 1 for i, key in enumerate(key for key in keys if key)}
    classes[" "] = len(classes) + 1
    output.mkdir(exist_ok=True)
    for file, characters in images.read_table(folder / "labels.tsv"):
        label = np.array([classes.get(c, 0) for c in characters.strip()], np.int64)
        np.savez(output / f"{pathlib.Path(file).stem}.npz", x=ocr.line(folder / file), labels=label)


def detections(collection, _):
    """Without labels: boxes are not what the command's metrics know."""
    files = sorted((collection.data / "coco_val64").glob("*.jpg"))
    return {
        "images": np.concatenate([detection.letterbox(images.Image.open(f).convert("RGB"))[0] for f in files])
    }


def chunks(collection, _):
    """Sound with the state that the f32 model has carried there; without labels."""
    session = open_session("ort", collection.path("silero_vad_v5"))
    found = {"input": [], "state": [], "sr": []}
    for file in ("synth.wav", "silero_test_60s.wav"):
        samples = audio.read_wave(collection.data / "vad" / file)
        padded = np.concatenate([np.zeros(audio.OVERLAP, np.float32), samples])
        state = np.zeros((2, 1, 128), np.float32)
        for i in range(0, len(samples) - audio.CHUNK + 1, audio.CHUNK):
            feeds = {
                "input": padded[i : i + audio.OVERLAP + audio.CHUNK][None],
                "state": state,
                "sr": np.array(audio.RATE, np.int64),
            }
            for name, value in feeds.items():
                found[name].append(value)
            state = session.run(feeds)["stateN"]
    return {name: np.stack(values) for name, values in found.items()}


def contents(collection, _):
    folder = collection.data / "magika"
    rows = images.read_table(folder / "labels.tsv")
    return {
        "bytes": np.stack([np.fromfile(folder / file, np.int32) for file, *_ in rows]),
        "labels": np.array([int(label) for _, label, *_ in rows]),
    }


DATASETS = {
    "mobilenetv2_fp32": imagenet,
    "resnet8_cifar_fp32": cifar,
    "mnist8": mnist,
    "digits": digits,
    "kws_dscnn_fp32": keywords,
    "use_lite": sentences,
    "ppocrv4_rec": lines,
    "yolox_nano": detections,
    "silero_vad_v5": chunks,
    "magika_fast_v2_1": contents,
}


def main():
    parser = command.parser(__doc__)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write to")
    options = parser.parse_args()
    collection, names = command.chosen(options, DATASETS)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in names:
        arrays = DATASETS[name](collection, options.output / name)
        if arrays is not None:
            np.savez(options.output / f"{name}.npz", **{k: np.ascontiguousarray(v) for k, v in arrays.items()})
        command.note(f"{name}: done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
