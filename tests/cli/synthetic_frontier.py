#!/usr/bin/env python3
"""Writes a made-up frontier of 30 points, as an optimizer would leave it: for tests and for looking at the report.

Usage: synthetic_frontier.py FILE [--seed N] [--model NAME] [--machine KEY=VALUE] [--offset N]
"""
import argparse
import json
import math
import random

LADDER = {"f32": (1.0, 0.0), "bf16x3": (0.62, 1e-9), "f16": (0.58, 4e-6), "bf16": (0.34, 3e-5), "int8": (0.21, 2.4e-4)}
BLOCKS = 17


def nodes(rng):
    """(name, operator, share of f32's time, sensitivity) in the graph's order."""
    out = [("features.0.conv", "Conv", 3.0, 3.2)]
    for b in range(1, BLOCKS + 1):
        out.append((f"features.{b}.expand", "Conv", rng.uniform(1.5, 4), rng.lognormvariate(-0.6, 0.9)))
        out.append((f"features.{b}.depthwise", "Conv", rng.uniform(0.6, 1.6), rng.lognormvariate(0.7, 0.8)))
        out.append((f"features.{b}.project", "Conv", rng.uniform(1.2, 3), rng.lognormvariate(-0.4, 0.9)))
    out.append(("features.18.conv", "Conv", 7.0, 0.4))
    out.append(("classifier.gemm", "Gemm", 5.0, 1.9))
    total = sum(n[2] for n in out)
    return [(name, op, time / total, s) for name, op, time, s in out]


def estimate(x, spread):
    return [x, x - abs(x) * spread, x + abs(x) * spread]


def choices(model, appetite, rng):
    """The lowest rung whose damage the appetite allows, node by node, and the reason."""
    out = []
    for name, op, share, sensitivity in model:
        rung = "f32"
        for candidate in ("bf16x3", "bf16", "int8"):
            if sensitivity * LADDER[candidate][1] <= appetite * share * rng.uniform(0.7, 1.4):
                rung = candidate
        noise = sensitivity * LADDER[rung][1]
        gain = 8.4 * share * (1 - LADDER["int8"][0])
        lost = 45 * math.sqrt(sensitivity * LADDER["int8"][1])
        reason = (f"stays {rung}: +{lost:.2f} pp for {gain:.2f} ms" if rung != "int8"
                  else f"int8: saves {gain:.2f} ms for {lost * 0.02:.3f} pp")
        out.append({"node": name, "op": op, "rung": rung, "kernel": {"f32": "conv_f32_avx512", "int8": "dense_u8_amx"}.get(
            rung, "dense_bf16_amx"), "time_share": share * LADDER[rung][0], "noise": noise, "reason": reason})
    time = sum(c["time_share"] for c in out)
    for c in out:
        c["time_share"] /= time
    return out, time


def point(i, model, appetite, batch, streams, rng, state):
    picked, time = choices(model, appetite, rng)
    noise = sum(c["noise"] for c in picked)
    slow = rng.uniform(1.0, 1.12) if i else 1.0
    one = 8.4e-3 * (0.12 + 0.88 * time) * slow
    latency = one * (batch ** 0.93) * (1 + 0.62 * (streams - 1))
    throughput = batch * streams / latency * 0.985
    drop = min(0.3, 0.45 * math.sqrt(noise) * rng.uniform(0.85, 1.15)) if appetite > 0 else 0.0
    accuracy = 0.718 - drop
    spread = rng.uniform(0.004, 0.02)
    figures = {
        "latency": {"mean": estimate(latency * 1.02, spread), "p50": estimate(latency, spread),
                    "p90": estimate(latency * 1.08, spread * 1.5), "p99": estimate(latency * 1.27, spread * 3)},
        "throughput": estimate(throughput, spread),
        "accuracy": [accuracy, accuracy - 0.013, accuracy + 0.013],
        "accuracy_drop": [drop, drop - 0.0035 if drop else 0, drop + 0.0035 if drop else 0],
        "memory": estimate((6 + 8 * time + 3.1 * batch * streams) * 1e6, 0),
    }
    off = rng.uniform(0.95, 1.05)
    guess = {"latency": {"p50": estimate(latency * off, 0.05)}, "throughput": estimate(throughput / off, 0.05),
             "accuracy": estimate(accuracy - rng.uniform(-0.004, 0.004), 0.01)}
    measured = state == "measured"
    return {"id": "f32" if i == 0 else f"p{i}", "state": state, "precision": "f32", "batch": batch, "streams": streams,
            "threads": max(1, 2 // streams), "layouts": "modelled", "predicted": guess,
            "measured": figures if measured else {}, "samples": rng.randint(300, 4000) if measured else 0,
            "provenance": "plain f32" if i == 0 else rng.choice(
                ["label setting at noise 1e-5", "one flip of p3", "two flips of p9", "PBQP at lambda 3.2"]),
            "choices": picked}


def dominated(a, points):
    """Whether another point is nowhere worse and somewhere better by more than the intervals."""
    def good(p):
        m = p["measured"]
        low = m["latency"]["p50"]
        return [(-low[0], -low[2], -low[1]), tuple(m["throughput"]), tuple(m["accuracy"])]
    for b in points:
        if b["state"] == "predicted":
            continue
        pairs = list(zip(good(b), good(a)))
        if all(x[0] >= y[0] for x, y in pairs) and any(x[1] > y[2] for x, y in pairs):
            return True
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--model", default="mobilenetv2-12.onnx")
    parser.add_argument("--machine", action="append", default=[])
    args = parser.parse_args()
    rng = random.Random(args.seed)
    model = nodes(rng)
    points = []
    for i in range(30):
        appetite = 0.0 if i == 0 else 10 ** rng.uniform(-4.6, -0.9)
        batch, streams = (1, 1) if i < 14 else rng.choice([(1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1)])
        points.append(point(i, model, appetite, batch, streams, rng, "predicted" if i in (11, 20, 27) else "measured"))
    losers = [p for p in points if p["state"] == "measured" and dominated(p, points)]
    for p in losers:
        p["state"] = "dominated"
    machine = {"cpu": "Example CPU @ 2.0 GHz", "isa": "avx512 amx", "cpus": "2", "l1d_kib": "48", "l2_kib": "2048",
               "l3_kib": "107520", "os": "Linux 6.1"}
    machine.update(m.split("=", 1) for m in args.machine)
    json.dump({"schema": "skyline.frontier", "version": 1, "tool": "skyline 0.1.0",
               "model": {"file": args.model, "sha1": "3" * 40}, "machine": machine,
               "metric": {"name": "top-1", "larger_is_better": True, "fraction": True},
               "data": {"source": "imagenet-500", "calibration": 100, "selection": 200, "report": 200},
               "seed": args.seed, "points": points}, open(args.file, "w", encoding="utf-8"))


if __name__ == "__main__":
    main()
