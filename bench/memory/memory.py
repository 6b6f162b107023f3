"""Planned memory of every model beside its lower bound.

    .venv/bin/python bench/memory/memory.py [--model NAME...] [--threads N] [--json]

arena       where activations live, as the planner laid it out
bound       the largest sum of values that live at once: no plan can be smaller; at most 10 % above it is the bar
workspace   scratch of the step that needs most
constants   weights that steps read, packed ones included, once
file        the model's file

Below 64 KiB the bar does not count: every value begins on a cache line. Values whose shapes are known only at run time
are not planned. Exit status 1 when a model misses the bar.
"""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "eval"))

import command
import models

MOST_OVER_BOUND = 1.1
SMALL = 64 << 10


def measure(options, name):
    path = models.Collection(options.models_dir, options.built_dir).path(name)
    arguments = ["profile", str(path), "--runs", "1", "--threads", str(options.threads), "--json"]
    child = subprocess.run([str(options.command), *arguments], capture_output=True, text=True)
    if child.returncode != 0:
        raise RuntimeError(child.stderr.strip())
    return json.loads(child.stdout)["memory"] | {"file": path.stat().st_size}


def over_bound(memory):
    return memory["arena"] / memory["arena_lower_bound"] if memory["arena_lower_bound"] else 1.0


def main():
    parser = command.parser(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--command", type=pathlib.Path, default=models.REPOSITORY / "build/release/skyline")
    parser.add_argument("--built-dir", type=pathlib.Path, default=models.REPOSITORY / "build/bench-models")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options, options.child)))
        return 0
    _, names = command.chosen(options, None)
    results = dict(command.run_children(options, names))
    good = {name: memory for name, memory in results.items() if "error" not in memory}
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        fields = ("arena", "arena_lower_bound", "workspace", "constants", "file")
        command.table(
            [(n, f"{over_bound(m):.3f}", *(f"{m[f] / 1e6:.2f}" for f in fields)) for n, m in good.items()],
            ["model", "arena/bound", "arena MB", "bound", "workspace", "constants", "file"],
        )
    for name in results.keys() - good.keys():
        command.note(f"{name}: {results[name]['error']}")
    missed = [n for n, m in good.items() if over_bound(m) > MOST_OVER_BOUND and m["arena"] > SMALL]
    for name in missed:
        command.note(f"{name}: the arena is {over_bound(good[name]):.2f} times its bound, at most {MOST_OVER_BOUND}")
    return 1 if missed or len(good) < len(results) else 0


if __name__ == "__main__":
    sys.exit(main())
