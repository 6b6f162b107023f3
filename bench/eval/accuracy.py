"""Measures the accuracy of the models on labelled data and compares it with what is expected of them.

    third_party/python/venv.sh
    .venv/bin/python bench/eval/accuracy.py                       every model that has labelled data
    .venv/bin/python bench/eval/accuracy.py --engine ort --model mnist8 use_lite

A metric fails when it is worse than expected by more than its noise, the half width of the 95 % interval that
sampling gives it. Exit status: 0 all met, 1 some metric not met or some model failed, 2 usage.
"""

import dataclasses
import json
import sys

import command
import models
from session import ENGINES, EngineError, EngineUnavailable, open_session
from tasks import TASKS, Context


def read_expected(collection):
    """Model -> metric -> value, from the collection and from the files of this repository."""
    here = models.REPOSITORY
    files = [
        collection.directory / "expected.json",
        models.DIGITS / "expected.json",
        here / "bench" / "eval" / "expected.json",
    ]
    merged = {}
    for file in files:
        if file.exists():
            for model, values in json.loads(file.read_text(encoding="utf-8")).items():
                merged.setdefault(model, {}).update(values)
    return merged


def measure(options, name):
    collection = models.Collection(options.models_dir)
    more = command.engine_options(options, options.engine)
    context = Context(collection, lambda path: open_session(options.engine, path, options.threads, **more))
    expected = read_expected(collection).get(name, {})
    results = []
    for metric in TASKS[name](context, name):
        row = dataclasses.asdict(metric)
        row["expected"] = expected.get(metric.name)
        row["passed"] = None if row["expected"] is None else metric.meets(row["expected"])
        results.append(row)
    return {"metrics": results}


def print_row(name, result):
    if "error" in result:
        return [(name, "-", "-", "-", "-", "-", f"FAILED: {result['error']}")]
    verdict = {True: "pass", False: "FAIL", None: "no expectation"}
    return [
        (
            name,
            m["name"],
            "-" if m["expected"] is None else f"{m['expected']:.4f}",
            f"{m['value']:.4f}",
            f"{m['noise']:.4f}",
            m["n"],
            verdict[m["passed"]],
        )
        for m in result["metrics"]
    ]


def main():
    parser = command.parser(__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="skyline")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options, options.child)))
        return 0

    collection, names = command.chosen(options, TASKS)
    unlabelled = [name for name in collection.names() if name not in TASKS]
    if unlabelled and not options.model:
        command.note(f"skipped, no labelled data: {', '.join(unlabelled)}")
    results, rows = {}, []
    for name, result in command.run_children(options, names):
        results[name] = result
        rows += print_row(name, result)
        command.note(f"{name}: {'failed' if 'error' in result else 'done'}")
    good = all("error" not in r and all(m["passed"] is not False for m in r["metrics"]) for r in results.values())
    if options.json:
        print(json.dumps({"engine": options.engine, "threads": options.threads, "ok": good, "models": results}, indent=1))
    else:
        command.table(rows, ["model", "metric", "expected", "measured", "noise", "n", "verdict"])
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (EngineError, EngineUnavailable) as error:
        command.note(str(error))
        sys.exit(1)
