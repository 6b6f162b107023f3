"""What lower precision costs: `skyline quantize` with its default settings on the labelled data, calibrated on a fifth
of it and measured on the rest, by this engine and, with the same file, by ONNX Runtime.

    .venv/bin/python bench/eval/quantized.py --skyline build/release/skyline --data DIR       DIR as datasets.py wrote it
    .venv/bin/python bench/eval/quantized.py ... --model mobilenetv2_fp32 --precision f16

Exit status: 0 unless a model failed.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import command
import metrics
import models
from session import open_session

METRICS = {
    "mobilenetv2_fp32": "top1",
    "resnet8_cifar_fp32": "top1",
    "kws_dscnn_fp32": "top1",
    "mnist8": "top1",
    "digits": "top1",
    "magika_fast_v2_1": "top1",
    "use_lite": "spearman",
    "ppocrv4_rec": "sequence",
    "yolox_nano": "sqnr",
    "silero_vad_v5": "sqnr",
}


class Rows:
    """Examples of an archive or of a folder of archives, in the order that the command takes them in."""

    def __init__(self, path):
        self.files = sorted(path.glob("*.npz")) if path.is_dir() else None
        self.arrays = None if self.files else dict(np.load(path))

    def __call__(self, ports, i):
        if self.files:
            with np.load(self.files[i]) as file:
                return {p.name: file[p.name] for p in ports}, file["labels"]
        rows = {p.name: self.arrays[p.name] for p in ports}
        keep = {p.name: rows[p.name].ndim == len(p.shape) for p in ports}
        labels = self.arrays.get("labels")
        feeds = {name: a[i : i + 1] if keep[name] else a[i] for name, a in rows.items()}
        return feeds, None if labels is None else labels[i]

    def __len__(self):
        return len(self.files) if self.files else len(next(iter(self.arrays.values())))


def decode(scores):
    best = scores.argmax(-1)
    changed = np.append(True, best[1:] != best[:-1])
    return best[changed & (best != 0)].tolist()


def score(metric, outputs, references, labels):
    """The command's metric, computed here."""
    if metric == "top1":
        shares = []
        for y, label in zip(outputs, labels):
            best = np.flatnonzero(y.reshape(-1) == y.max())
            shares.append(1 / len(best) if int(label) in best else 0)
        return float(np.mean(shares))
    if metric == "sequence":
        return float(np.mean([decode(y[0]) == label.tolist() for y, label in zip(outputs, labels)]))
    if metric == "spearman":
        cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in outputs]
        return metrics.spearman([float(x) for x in labels], cosines).value
    signal = sum(float((r.astype(np.float64) ** 2).sum()) for r in references)
    noise = sum(float(((y - r).astype(np.float64) ** 2).sum()) for y, r in zip(outputs, references))
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


def run_all(path, rows, indices, threads):
    session = open_session("ort", path, threads)
    found = [session.run(rows(session.inputs, i)[0])[session.outputs[0].name] for i in indices]
    session.close()
    return found


def measure(options, name):
    collection = models.Collection(options.models_dir)
    data = options.data / f"{name}.npz"
    data = data if data.exists() else options.data / name
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "model.onnx"
        call = [options.skyline, "quantize", collection.path(name), "--calibration", data, "-o", output, "--json"]
        call += ["--metric", METRICS[name], "--precision", options.precision, *options.flags.split()]
        ours = json.loads(subprocess.run(list(map(str, call)), check=True, capture_output=True, text=True).stdout)
        rows = Rows(data)
        apart = set(ours["calibration"])
        indices = [i for i in range(len(rows)) if i not in apart]
        before = run_all(collection.path(name), rows, indices, options.threads)
        after = run_all(output, rows, indices, options.threads)
        labels = [rows([], i)[1] for i in indices] if METRICS[name] not in ("sqnr",) else None
    report = ours["report"]
    return {
        "metric": METRICS[name],
        "n": len(indices),
        "calibration": len(apart),
        "f32": report["f32"],
        "ours": report[options.precision],
        "interval": report.get("interval95"),
        "ort_f32": score(METRICS[name], before, before, labels),
        "ort": score(METRICS[name], after, before, labels),
        "seconds": ours["seconds"],
    }


def main():
    parser = command.parser(__doc__)
    parser.add_argument("--skyline", type=pathlib.Path, required=True, help="the command")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder that datasets.py wrote")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--flags", default="", help="passed to the command, apart by blanks: --flags='--method minmax'")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options, options.child)))
        return 0
    _, names = command.chosen(options, METRICS)
    rows, good = [], True
    for name, r in command.run_children(options, names):
        good &= "error" not in r
        if "error" in r:
            rows.append((name, r["error"], *[""] * 8))
        else:
            show = [f"{r[k]:.4f}" for k in ("f32", "ours")] + [f"{r['ours'] - r['f32']:+.4f}"]
            interval = "" if r["interval"] is None else f"{r['interval']:.4f}"
            show += [interval, f"{r['ort_f32']:.4f}", f"{r['ort']:.4f}", f"{r['ort'] - r['ort_f32']:+.4f}"]
            rows.append((name, r["metric"], r["n"], *show))
        command.note(" ".join(map(str, rows[-1])))
    header = ["model", "metric", "n", "f32", options.precision, "difference", "+-", "ORT f32", "ORT", "difference"]
    command.table(rows, header)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
