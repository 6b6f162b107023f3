"""What lower precision costs: `skyline quantize` with its default settings on the labelled data, and every file that it
writes run by this engine and by ONNX Runtime, example by example beside f32.

    .venv/bin/python bench/eval/quantized.py --skyline build/release/skyline --data DIR       DIR as datasets.py wrote it
    .venv/bin/python bench/eval/quantized.py ... --model mobilenetv2_fp32 --precisions int8 --repeats 5
    .venv/bin/python bench/eval/quantized.py ... --held-out --flags='--method mse'            to choose settings

A fifth of the examples calibrates int8, the others are evaluated; with --repeats that is done anew with other fifths,
and what is reported of an example is the mean over those in which it did not calibrate. `+-` is the half width of the 95 %
interval of the difference, paired by example (bootstrap where the metric is not a mean). f16 looks at a few examples
for its ranges only, and is evaluated on all.

--held-out uses the calibrating fifth only: half of it calibrates, and how far the outputs are from f32 on the other half
(dB, and the mean divergence of their softmax in nats) is printed. No label and no example of the report takes part.

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

# Metric, and the largest loss that int8 may have.
METRICS = {
    "mobilenetv2_fp32": ("top1", 0.003),
    "resnet8_cifar_fp32": ("top1", 0.005),
    "kws_dscnn_fp32": ("top1", 0.005),
    "mnist8": ("top1", 0.005),
    "use_lite": ("spearman", 0.005),
    "ppocrv4_rec": ("lines", 0.005),
    "digits": ("top1", None),
    "magika_fast_v2_1": ("top1", None),
    "yolox_nano": ("dB", None),
    "silero_vad_v5": ("dB", None),
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


def decibels(y, reference):
    noise, signal = ((y - reference).astype(np.float64) ** 2).sum(), (reference.astype(np.float64) ** 2).sum()
    return float(10 * np.log10(signal / noise)) if noise and signal else 200.0


def score(metric, y, label, reference):
    """Of one example; for spearman the cosine that is ranked."""
    if metric == "top1":
        best = np.flatnonzero(y.reshape(-1) == y.max())
        return 1 / len(best) if int(label) in best else 0.0
    if metric == "lines":
        return float(decode(y[0]) == label.tolist())
    if metric == "spearman":
        a, b = y
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return decibels(y, reference)


def combine(metric, scores, labels):
    return metrics.spearman(labels, scores).value if metric == "spearman" else float(np.mean(scores))


def paired(metric, before, after, labels):
    """The difference, and the half width of its interval."""
    before, after, labels = (np.asarray(x, np.float64) for x in (before, after, labels))
    difference = combine(metric, after, labels) - combine(metric, before, labels)
    if metric != "spearman":
        return difference, metrics.Z95 * float((after - before).std(ddof=1)) / np.sqrt(len(before))
    random = np.random.default_rng(1)
    found = []
    for _ in range(400):
        i = random.integers(0, len(labels), len(labels))
        found.append(combine(metric, after[i], labels[i]) - combine(metric, before[i], labels[i]))
    return difference, metrics.Z95 * float(np.std(found))


class Runner:
    def __init__(self, options, name):
        self.options, self.metric = options, METRICS[name][0]
        self.path = models.Collection(options.models_dir).path(name)
        data = options.data / f"{name}.npz"
        self.data = data if data.exists() else options.data / name
        self.rows = Rows(self.data)
        self.references = {}

    def quantize(self, output, precision, examples=None, seed=1):
        call = [self.options.skyline, "quantize", self.path, "--calibration", self.data, "-o", output, "--json"]
        call += ["--precision", precision, "--seed", seed, *self.options.flags.split()]
        call += [] if examples is None else ["--examples", examples]
        done = subprocess.run(list(map(str, call)), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return json.loads(done.stdout)

    def outputs(self, engine, path, indices):
        more = {"library": self.options.library} if engine == "skyline" else {}
        session = open_session(engine, path, self.options.threads, **more)
        for i in indices:
            feeds, label = self.rows(session.inputs, i)
            yield i, session.run(feeds)[session.outputs[0].name], label
        session.close()

    def scores(self, engine, path, indices):
        return {i: score(self.metric, y, label, self.references.get(i)) for i, y, label in self.outputs(engine, path, indices)}


def held_out(options, name):
    r = Runner(options, name)
    fifth = max(2, len(r.rows) // 5)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.onnx"
        both = r.quantize(file, "int8", fifth)["calibration"]
        mine = r.quantize(file, "int8", fifth // 2)
        assert mine["calibration"] == both[: fifth // 2]
        apart = both[fifth // 2 :][: options.most]
        want = {i: y for i, y, _ in r.outputs("skyline", r.path, apart)}
        noise, divergence = [], []
        for i, y, _ in r.outputs("skyline", file, apart):
            noise.append(((y - want[i]).astype(np.float64) ** 2).sum() / (want[i].astype(np.float64) ** 2).sum())
            p, q = (log_softmax(v) for v in (want[i], y))
            divergence.append((np.exp(p) * (p - q)).sum(-1).mean())
    kept = sum(n["precision"] == "f32" for n in mine["nodes"])
    return {
        "n": len(apart),
        "dB": float(-10 * np.log10(np.mean(noise))),
        "nats": float(np.mean(divergence)),
        "in f32": kept,
        "seconds": mine["seconds"],
    }


def log_softmax(x):
    x = x.astype(np.float64).reshape(-1, x.shape[-1])
    if x.min() >= 0 and np.allclose(x.sum(-1), 1, atol=1e-3):  # they are probabilities
        return np.log(np.maximum(x, 1e-12))
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def measure(options, name):
    r = Runner(options, name)
    everything, metric = range(len(r.rows)), METRICS[name][0]
    if metric == "dB":
        r.references = {i: y for i, y, _ in r.outputs("ort", r.path, everything)}
    f32 = {engine: r.scores(engine, r.path, everything) for engine in ("skyline", "ort")}
    labels = {i: float(r.rows([], i)[1]) for i in everything} if metric == "spearman" else dict.fromkeys(everything, 0)
    result = {"metric": metric}
    for precision in options.precisions:
        sums = {engine: {} for engine in f32}
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "model.onnx"
            for seed in range(1, (options.repeats if precision == "int8" else 1) + 1):
                used = r.quantize(file, precision, max(1, len(r.rows) // 5) if precision == "int8" else 16, seed)
                apart = set(used["calibration"]) if precision == "int8" else set()
                indices = [i for i in everything if i not in apart]
                for engine in sums:
                    for i, s in r.scores(engine, file, indices).items():
                        sums[engine].setdefault(i, []).append(s)
        indices = sorted(sums["ort"])
        row = {"n": len(indices), "calibration": len(used["calibration"])}
        for engine, found in sums.items():
            before, after = [f32[engine][i] for i in indices], [np.mean(found[i]) for i in indices]
            chosen = [labels[i] for i in indices]
            difference, half = paired(metric, before, after, chosen)
            row[engine] = {"f32": combine(metric, before, chosen), "difference": difference, "+-": half}
        ours, theirs = ([np.mean(sums[e][i]) for i in indices] for e in ("skyline", "ort"))
        row["apart"] = paired(metric, theirs, ours, [labels[i] for i in indices])[0]
        row["in f32"] = sum(n["precision"] == "f32" for n in used["nodes"])
        result[precision] = row
    return result


def report(name, result):
    metric, bar = METRICS[name]
    for precision, r in result.items():
        if precision == "metric":
            continue
        ours, theirs = r["skyline"], r["ort"]
        met = "" if bar is None or precision != "int8" else "yes" if -ours["difference"] <= bar else "no"
        digits = 2 if metric == "dB" else 4
        numbers = [ours["f32"], ours["difference"], ours["+-"], theirs["difference"], theirs["+-"], r["apart"]]
        yield (name, precision, metric, r["n"], *(f"{x:.{digits}f}" for x in numbers), "" if bar is None else bar, met)


def main():
    parser = command.parser(__doc__)
    parser.add_argument("--skyline", type=pathlib.Path, required=True, help="the command")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder that datasets.py wrote")
    parser.add_argument("--precisions", nargs="+", default=["f16", "int8"], help="f16, bf16, int8")
    parser.add_argument("--repeats", type=int, default=1, help="int8: calibrations, each with another fifth")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--flags", default="", help="passed to the command, apart by blanks: --flags='--method minmax'")
    parser.add_argument("--held-out", action="store_true", help="noise on calibrating examples, to choose settings by")
    parser.add_argument("--most", type=int, default=200, help="--held-out: examples to measure on")
    options = parser.parse_args()
    if options.child:
        print(json.dumps((held_out if options.held_out else measure)(options, options.child)))
        return 0
    _, names = command.chosen(options, METRICS)
    rows, good, results = [], True, {}
    for name, r in command.run_children(options, names):
        results[name] = r
        good &= "error" not in r
        if "error" in r:
            found = [(name, r["error"], *[""] * (4 if options.held_out else 10))]
        elif options.held_out:
            found = [(name, *(f"{r[k]:.4g}" for k in ("n", "dB", "nats", "in f32", "seconds")))]
        else:
            found = list(report(name, r))
        rows += found
        for row in found:
            command.note(" ".join(map(str, row)))
    if options.json:
        print(json.dumps(results))
    else:
        header = ["model", "n", "dB", "nats", "in f32", "seconds"]
        wide = ["model", "precision", "metric", "n", "f32", "ours - f32", "+-", "ORT - f32", "+-", "ours - ORT", "bar", "met"]
        command.table(rows, header if options.held_out else wide)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
