"""Compares the outputs with those of ONNX Runtime on seeded random inputs, for every model and several shapes.

    third_party/python/venv.sh
    .venv/bin/python bench/eval/compare_ort.py [--model NAME...] [--seed N]

ONNX Runtime runs with its graph optimisation off, so that it follows the operators' definitions: optimised, it
fuses Pad and AveragePool wrongly. What counts as equal depends on the kind of model:

    f32     |difference| <= 1e-3 |expected| + 1e-5 * scale, everywhere; the scale of an output is its largest
            |expected|, and 1 for one that Sigmoid or Softmax makes
    int8    models of integer operators: every element within one quantization step of the output
    qdq     rounding flips spread through such a model, so elements cannot be compared (its accuracy can):
            cosine similarity of at least 0.98

Exit status: 0 all equal, 1 some differ or fail, 2 usage.
"""

import json
import sys

import numpy as np
import onnx

import command
import inputs
import models
from session import ENGINES, EngineError, EngineUnavailable, open_session

RELATIVE, ABSOLUTE, LEAST_COSINE = 1e-3, 1e-5, 0.98
INTEGER_OPERATORS = {"QLinearConv", "QLinearMatMul", "QLinearAdd", "ConvInteger", "MatMulInteger"}


def read_kind(path):
    """("f32" | "int8" | "qdq", steps, probabilities): steps maps an output to the scale of the DequantizeLinear that
    makes it; probabilities are the names of what Sigmoid and Softmax make."""
    graph = onnx.load(path).graph
    used = {node.op_type for node in graph.node}
    scales = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    steps = {
        node.output[0]: float(scales[node.input[1]].max())
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[1] in scales
    }
    probabilities = {node.output[0] for node in graph.node if node.op_type in ("Sigmoid", "Softmax")}
    if used & INTEGER_OPERATORS:
        return "int8", steps, probabilities
    return ("qdq" if "DequantizeLinear" in used else "f32"), steps, probabilities


def cosine(a, b):
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norms) if norms else float(np.array_equal(a, b))


def compare(kind, step, least_scale, found, expected):
    """One output: the largest errors, and whether it counts as equal."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        text = f"{found.dtype}{list(found.shape)} instead of {expected.dtype}{list(expected.shape)}"
        return {"equal": False, "reason": text, "max_abs": None, "max_rel": None}
    if expected.size == 0:
        return {"equal": True, "max_abs": 0.0, "max_rel": 0.0}
    a, b = found.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(a - b))
    if not np.isfinite(error).all():
        reason = "a NaN or infinity where the other has something else"
        return {"equal": False, "reason": reason, "max_abs": None, "max_rel": None}
    finite = np.abs(b[np.isfinite(b)])
    scale = max(float(finite.max()) if finite.size else 0.0, least_scale)
    result = {"max_abs": float(error.max()), "max_rel": float(error.max() / scale) if scale else float(error.max())}
    if kind == "qdq":
        result["cosine"] = cosine(found, expected)
        result["equal"] = result["cosine"] >= LEAST_COSINE
    elif kind == "int8" and step is not None:
        result["steps"] = result["max_abs"] / step
        result["equal"] = result["steps"] <= 1.01
    else:
        close = error <= RELATIVE * np.abs(b) + ABSOLUTE * scale
        result["equal"] = bool((same | close).all())
    return result


def measure(options, name):
    path = models.Collection(options.models_dir).path(name)
    kind, steps, probabilities = read_kind(path)
    more = command.engine_options(options, options.engine)
    ours = open_session(options.engine, path, options.threads, **more)
    theirs = open_session("ort", path, 1, optimize=False)
    cases = []
    for shapes, feeds in inputs.random_feeds(name, theirs.inputs, options.seed):
        expected = theirs.run(feeds)
        found = ours.run(feeds)
        for output in expected:
            scale = 1.0 if output in probabilities else 0.0
            row = compare(kind, steps.get(output), scale, np.asarray(found[output]), np.asarray(expected[output]))
            cases.append({"shapes": shapes, "output": output, **row})
    return {"kind": kind, "cases": cases}


def print_row(name, result):
    """The worst output of every shape."""
    if "error" in result:
        return [(name, "-", "-", "-", "-", f"FAILED: {result['error']}")]
    rows = []
    for shapes in dict.fromkeys(case["shapes"] for case in result["cases"]):
        cases = [case for case in result["cases"] if case["shapes"] == shapes]
        worst = min(cases, key=lambda case: (case["equal"], -(case["max_rel"] or 0)))
        if worst["max_abs"] is None:
            rows.append((name, shapes, result["kind"], "-", "-", f"DIFFERS at {worst['output']}: {worst['reason']}"))
            continue
        extra = f" (cosine {worst['cosine']:.4f})" if "cosine" in worst else ""
        extra = f" ({worst['steps']:.2f} steps)" if "steps" in worst else extra
        verdict = "equal" if worst["equal"] else f"DIFFERS at {worst['output']}"
        rows.append((name, shapes, result["kind"], f"{worst['max_abs']:.2e}", f"{worst['max_rel']:.2e}", verdict + extra))
    return rows


def main():
    parser = command.parser(__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="skyline", help="ort: its optimised graph, as a control")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options, options.child)))
        return 0

    _, names = command.chosen(options, None)
    results, rows = {}, []
    for name, result in command.run_children(options, names):
        results[name] = result
        rows += print_row(name, result)
        command.note(f"{name}: {'failed' if 'error' in result else 'done'}")
    good = all("error" not in r and all(case["equal"] for case in r["cases"]) for r in results.values())
    if options.json:
        print(json.dumps({"engine": options.engine, "seed": options.seed, "ok": good, "models": results}, indent=1))
    else:
        command.table(rows, ["model", "shapes", "kind", "max abs", "max/scale", "verdict"])
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (EngineError, EngineUnavailable) as error:
        command.note(str(error))
        sys.exit(1)
