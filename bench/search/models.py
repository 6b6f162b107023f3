"""What `skyline optimize` makes of the models that there are labelled examples for: how much faster than f32, whether the
constraint holds on examples that nothing was chosen by, and how it compares with the best single precision.

    .venv/bin/python bench/eval/datasets.py --output DIR
    .venv/bin/python bench/search/models.py --skyline build/release/skyline --data DIR [--model NAME...] [--save DIR]

Of models without labels accuracy is fidelity to f32. Exit status: 0; 1 if a promise was broken or a plan is slower than
the best single precision.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

# Metric, constraint, and the largest loss on unseen examples (the interval's middle) that keeps the promise.
MODELS = {
    "mobilenetv2_fp32": ("top1", "accuracy.drop<=1pp", 0.01),
    "ppocrv4_rec": ("sequence", "accuracy.drop<=1pp", 0.01),
    "use_lite": ("spearman", "accuracy.drop<=1pp", 0.01),
    "kws_dscnn_fp32": ("top1", "accuracy.drop<=1pp", 0.01),
    "resnet8_cifar_fp32": ("top1", "accuracy.drop<=1pp", 0.01),
    "yolox_nano": ("cosine", "accuracy.drop<=0.1pp", 0.001),
    "silero_vad_v5": ("cosine", "accuracy.drop<=0.1pp", 0.001),
}


def p50(point):
    return point["measured"]["latency"]["p50"][0]


def budget_of(options, name):
    return options.budget or ("3m" if name == "mobilenetv2_fp32" else "1m")


def optimize(options, name, folder):
    metric, constraint, most = MODELS[name]
    data = options.data / name
    data = data if data.is_dir() else data.with_suffix(".npz")
    model = options.models / name / "model.onnx"
    command = [options.skyline, "optimize", model, "--data", data, "--metric", metric, "--constraint", constraint]
    command += ["--minimize", "latency", "--budget", budget_of(options, name), "--threads", str(options.threads), "--json"]
    command += ["--costs", options.costs or folder / "costs.json", "-o", folder / f"{name}.json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 4):
        raise RuntimeError(f"{name}: {done.stderr.strip()}")
    return row(name, json.loads(done.stdout), most)


def row(name, result, most):
    points = {p["id"]: p for p in result["frontier"]["points"]}
    chosen, f32 = points[result["point"]], points["f32"]
    # The bound as the choice met it: by the upper end of the interval.
    drop = lambda p: p["measured"]["accuracy_drop"][2]
    single = [p for p in points.values() if p["provenance"].startswith("all that can in") and "streams" not in p["provenance"]]
    single = [p for p in single + [f32] if p is f32 or ("accuracy_drop" in p["measured"] and drop(p) <= most)]
    best = min(single, key=p50)
    unseen = [r for r in result["unseen"] if r["point"] != "f32"]
    lost = unseen[-1]["drop"] if unseen else [0, 0, 0]
    return {
        "model": name,
        "feasible": result["feasible"],
        "f32_ms": 1e3 * p50(f32),
        "plan_ms": 1e3 * p50(chosen),
        "speedup": p50(f32) / p50(chosen),
        "single": best["provenance"].replace("all that can in ", "").replace("all products in f32", "f32"),
        "over_single": p50(best) / p50(chosen),
        "lost_chosen_by": chosen["measured"]["accuracy_drop"][0],
        "lost_unseen": lost,
        "kept": lost[0] <= most,
        "latency_residual": result["latency_residual"],
        "additive_residual": result["additive_residual"],
        "noise_correlation": result["noise_correlation"],
        "accuracy_correlation": result["accuracy_correlation"],
        "losses": [result["losses_resolved"], result["losses"]],
        "plans": len(points),
        "warnings": result["warnings"],
    }


def show(r):
    number = lambda x, form: "-" if x is None else format(x, form)
    print(
        f"{r['model']:<20} {r['f32_ms']:>8.3f} {r['plan_ms']:>8.3f} {r['speedup']:>6.2f} {r['over_single']:>6.2f} {r['single']:<7}"
        f" {100 * r['lost_unseen'][0]:>7.2f} [{100 * r['lost_unseen'][1]:.2f}, {100 * r['lost_unseen'][2]:.2f}]"
        f" {'kept' if r['kept'] else 'BROKEN':<7}{number(r['latency_residual'], '.1%'):>7}"
        f" {number(r['additive_residual'], '.1%'):>7} {number(r['noise_correlation'], '.2f'):>6}"
        f" {number(r['accuracy_correlation'], '.2f'):>6} {r['losses'][0]}/{r['losses'][1]}",
        flush=True,
    )


def summarise(rows):
    """What the optimizer has to show, in one line each."""
    of = f"of {len(rows)}"
    print(f"promise kept on unseen data: {sum(r['kept'] for r in rows)} {of}")
    print(f"at least as fast as the best single precision: {sum(r['over_single'] >= 0.99 for r in rows)} {of}")
    print(f"faster than it by 10 % or more: {sum(r['over_single'] >= 1.1 for r in rows)} {of}")
    for r in rows:
        if r["model"] == "mobilenetv2_fp32":
            print(f"MobileNetV2 is {r['speedup']:.2f} times as fast as f32 (bar 2)")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parents[2]
    p.add_argument("--skyline", type=pathlib.Path, default=root / "build/release/skyline")
    p.add_argument("--data", type=pathlib.Path, required=True)
    models = os.environ.get("SKYLINE_MODELS", root.parent / "shared/models")
    p.add_argument("--models", type=pathlib.Path, default=pathlib.Path(models) / "models")
    p.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    p.add_argument("--budget", help="of each model (default: 3m for MobileNetV2, 1m for the others)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--costs", help="cost table to go on with (default: a new one for all models together)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--save", type=pathlib.Path, help="folder for results.json, written after each model, and the frontiers")
    options = p.parse_args()
    rows = []
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
    if not options.json:
        print(f"{'model':<20} {'f32 ms':>8} {'plan ms':>8} {'x f32':>6} {'x one':>6} {'one':<7} lost pp unseen"
              f" {'':<14}{'latency':>7} {'before':>7} {'noise':>6} {'loss':>6} resolved")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.model:
            rows.append(optimize(options, name, options.save or pathlib.Path(folder)))
            if options.save:
                (options.save / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
            if not options.json:
                show(rows[-1])
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        summarise(rows)
    return 0 if all(r["kept"] and r["over_single"] >= 0.99 for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
