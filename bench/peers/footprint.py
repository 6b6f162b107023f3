"""Load time and peak memory of one engine on one model, in a process that holds nothing else.

    .venv/bin/python bench/peers/footprint.py --engine skyline --path model.onnx --feeds feeds.npz --threads 1

prints one JSON object: load_ms (file to session), ready_ms (file to the first answer), prepare_ms (the same without
what a later run takes: engines differ in what they leave to the first run), rss_mb (the most memory that
engine and model added to a Python process with numpy and the inputs), model_mb (the same beyond importing the
engine). The file is read once before, so that disks do not matter.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "eval")]

from session import MODULES


def memory_mb(field):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def touch(path):
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass


def measure(engine, path, feeds, threads, **options):
    touch(path)
    before = memory_mb("VmRSS")
    module = importlib.import_module(MODULES[engine])
    imported = memory_mb("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    begin = time.perf_counter()
    session = module.Session(path, threads=threads, **options)
    loaded = time.perf_counter()
    run = session.prepare(feeds)
    run()
    ready = time.perf_counter()
    runs = []
    for _ in range(3):
        begin_run = time.perf_counter()
        run()
        runs.append(time.perf_counter() - begin_run)
    peak = memory_mb("VmHWM")
    session.close()
    return {
        "load_ms": (loaded - begin) * 1e3,
        "ready_ms": (ready - begin) * 1e3,
        "prepare_ms": (ready - begin - min(runs)) * 1e3,
        "rss_mb": peak - before,
        "model_mb": peak - imported,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=MODULES, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--feeds", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--library")
    arguments = parser.parse_args()
    with np.load(arguments.feeds) as archive:
        feeds = {name: archive[name] for name in archive.files}
    options = {}
    if arguments.engine == "skyline":
        options["library"] = arguments.library
    elif arguments.engine in ("openvino", "ncnn"):
        options["shapes"] = {name: array.shape for name, array in feeds.items()}
    print(json.dumps(measure(arguments.engine, arguments.path, feeds, arguments.threads, **options)), flush=True)
    os._exit(0)  # without the engine's exit handlers


if __name__ == "__main__":
    main()
