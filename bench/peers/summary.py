"""From measurements to ratios, geometric means, the bars that they are held against, and a table."""

import dataclasses
import math
import statistics
import sys

import command

TINY_MS = 1.0  # below this in ONNX Runtime on one thread, a model counts as tiny


@dataclasses.dataclass(frozen=True)
class Bar:
    """A value that must be at least (or at most) `limit`."""

    what: str
    value: float
    limit: float
    at_most: bool = False

    @property
    def passed(self):
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self):
        return f"{self.what}: {self.value:.2f}, {'at most' if self.at_most else 'at least'} {self.limit:g}"


# The bars of the f32 work: ONNX Runtime's time over ours, except where said.
GEOMETRIC_MEAN, GEOMETRIC_MEAN_BEST_PEER, EACH, TINY, SCALING = 1.3, 1.15, 1.0, 3.0, 1.85
HARD = {"mobilenetv2", "densenet121", "inception_v1", "bert_base"}
HARD_RATIO = 1.5
SCALING_MODELS = ("resnet50", "bert_base", "vgg19")
LOAD, MEMORY = 0.5, 0.9


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


def ratio(times, peer):
    """The peer's time over ours, or None where one of them has none."""
    return times[peer] / times["skyline"] if times.get(peer) and times.get("skyline") else None


def best_peer(times):
    peers = [time for engine, time in times.items() if engine != "skyline" and time]
    return min(peers) / times["skyline"] if peers and times.get("skyline") else None


def good_models(results):
    return {name: r for name, r in results.items() if "error" not in r}


def summarise(results):
    """Threads (as text) -> geometric means: over f32 models and over the others, of every peer and of the best."""
    summary = {}
    for t in sorted({t for r in good_models(results).values() for t in r["threads"]}, key=int):
        summary[t] = {}
        for kind in ("f32", "int8"):
            times = [
                r["threads"][t]["p50_ms"]
                for r in good_models(results).values()
                if t in r["threads"] and (r["kind"] == "f32") == (kind == "f32")
            ]
            peers = sorted({engine for row in times for engine in row} - {"skyline"})
            means = {p: geometric_mean([x for row in times if (x := ratio(row, p))]) for p in peers}
            means["best peer"] = geometric_mean([x for row in times if (x := best_peer(row))])
            summary[t][kind] = {peer: mean for peer, mean in means.items() if mean}
    return summary


def is_tiny(result):
    time = result["threads"].get("1", {}).get("p50_ms", {}).get("ort")
    return time is not None and time < TINY_MS


def speed_bars(results, summary):
    for t, means in summary.items():
        if "ort" in means["f32"]:
            yield Bar(f"{t}T geometric mean over ort, f32", means["f32"]["ort"], GEOMETRIC_MEAN)
        if len(means["f32"]) > 2:
            yield Bar(f"{t}T geometric mean over the best peer, f32", means["f32"]["best peer"], GEOMETRIC_MEAN_BEST_PEER)
    for name, result in good_models(results).items():
        if result["kind"] != "f32":
            continue
        for t, row in result["threads"].items():
            limit = TINY if is_tiny(result) else HARD_RATIO if name.removesuffix("_fp32") in HARD else EACH
            if (x := ratio(row["p50_ms"], "ort")) is not None:
                yield Bar(f"{t}T {name} over ort", x, limit)
    for name in SCALING_MODELS:
        times = {t: row["p50_ms"].get("skyline") for t, row in results.get(name, {}).get("threads", {}).items()}
        if times.get("1") and times.get("2"):
            yield Bar(f"{name}: two threads over one", times["1"] / times["2"], SCALING)


def footprint_bars(results):
    for name, result in good_models(results).items():
        ours, theirs = (result.get("footprint", {}).get(engine) for engine in ("skyline", "ort"))
        if not ours or not theirs or "error" in ours or "error" in theirs:
            continue
        yield Bar(f"{name}: load over ort's", ours["prepare_ms"] / theirs["prepare_ms"], LOAD, at_most=True)
        yield Bar(f"{name}: memory over ort's", ours["rss_mb"] / theirs["rss_mb"], MEMORY, at_most=True)


def number(value, form="{:.2f}"):
    return "-" if value is None else form.format(value)


def show_speed(results, engines):
    peers = [engine for engine in engines if engine != "skyline"]
    header = ["model", "kind", "T", *(f"{engine} ms" for engine in engines), *(f"/{peer}" for peer in peers), "/best"]
    rows = []
    for name, result in results.items():
        if "error" in result:
            rows.append((name, f"FAILED: {result['error']}", *["-"] * (len(header) - 2)))
            continue
        for t, row in sorted(result["threads"].items(), key=lambda item: int(item[0])):
            times = row["p50_ms"]
            rows.append(
                (
                    name,
                    result["kind"],
                    t,
                    *(number(times.get(engine), "{:.4g}") for engine in engines),
                    *(number(ratio(times, peer)) for peer in peers),
                    number(best_peer(times)),
                )
            )
    command.table(rows, header)


def show_footprint(results, engines):
    fields = ("load_ms", "prepare_ms", "ready_ms", "rss_mb", "model_mb")
    rows = []
    for name, result in good_models(results).items():
        footprint = result.get("footprint", {})
        for engine in engines:
            if engine in footprint and "error" not in footprint[engine]:
                values = [number(footprint[engine][field], "{:.1f}") for field in fields]
                against = footprint.get("ort", {})
                shares = [
                    number(footprint[engine][f] / against[f] if against.get(f) else None) for f in ("prepare_ms", "rss_mb")
                ]
                rows.append((name, engine, *values, *shares))
    if rows:
        print()
        command.table(rows, ["model", "engine", *(f.replace("_", " ") for f in fields), "prepare/ort", "rss/ort"])


def show(results, summary, bars, engines):
    show_speed(results, engines)
    for t, means in summary.items():
        for kind, row in means.items():
            if row:
                text = ", ".join(f"{peer} {mean:.2f}" for peer, mean in row.items())
                print(f"{t} thread(s), {kind}: geometric mean of the peer's time over ours: {text}")
    show_footprint(results, engines)
    for name, result in good_models(results).items():
        for engine, reason in result.get("excluded", {}).items():
            print(f"{name}: no {engine}: {reason}")
    below = [bar for bar in bars if not bar.passed]
    print(f"\n{len(bars) - len(below)} of {len(bars)} bars met" + (", not:" if below else ""))
    for bar in below:
        print(f"  {bar}")
    sys.stdout.flush()
