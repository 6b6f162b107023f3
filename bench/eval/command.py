"""What the three command lines share: options, the choice of models, one child process per model, tables."""

import argparse
import json
import pathlib
import subprocess
import sys

import models


def parser(description):
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--models-dir",
        type=pathlib.Path,
        default=models.default_directory(),
        help="folder with models/, data/ and expected.json (default: $SKYLINE_MODELS, else ../shared/models)",
    )
    p.add_argument("--model", "--models", nargs="+", metavar="NAME", help="only these (default: all)")
    p.add_argument("--library", type=pathlib.Path, help="libskyline.so (default: $SKYLINE_LIBRARY, else build/)")
    p.add_argument("--timeout", type=float, default=600, metavar="S", help="per model (default 600)")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    p.add_argument("--child", help=argparse.SUPPRESS)
    return p


def note(text):
    print(text, file=sys.stderr, flush=True)


def chosen(options, available):
    """The collection and the names to work on. Says when the shared models are absent, and refuses unknown names."""
    collection = models.Collection(options.models_dir, getattr(options, "built_dir", None))
    if not collection.exists():
        note(f"skipped: the shared models, because {options.models_dir} has no models/ (set SKYLINE_MODELS)")
    present = [name for name in collection.names() if name in available] if available else collection.names()
    wanted = options.model or present
    unknown = [name for name in wanted if name not in present]
    if unknown:
        note(f"no such model here: {', '.join(unknown)}; there are {', '.join(present)}")
        sys.exit(2)
    return collection, wanted


def run_children(options, names):
    """Runs this same script once per model, so that a crash of one ends no other. Yields (name, result), where
    the result is the JSON object that the child printed, or {"error": text}."""
    for name in names:
        command = [sys.executable, *sys.argv, "--child", name]
        try:
            child = subprocess.run(command, capture_output=True, text=True, timeout=options.timeout)
        except subprocess.TimeoutExpired:
            yield name, {"error": f"no answer within {options.timeout:g} s"}
            continue
        lines = child.stderr.strip().splitlines()
        if child.returncode < 0:
            yield name, {"error": f"crashed with signal {-child.returncode}"}
        elif child.returncode != 0:
            yield name, {"error": lines[-1] if lines else f"exit status {child.returncode}"}
        else:
            yield name, json.loads(child.stdout)


def engine_options(options, engine, **more):
    """Keyword arguments of open_session for this engine."""
    if engine == "skyline":
        more["library"] = options.library
    return more


def table(rows, header):
    """Left-aligned first two columns, right-aligned numbers, to stdout."""
    cells = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        parts = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(parts).rstrip())
