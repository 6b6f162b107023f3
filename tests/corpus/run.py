#!/usr/bin/env python3
"""Every case of cases.py through the command: its exit status, one line on stderr that names the status, no signal, no hang, no
memory beyond what the model needs. Usage: run.py SKYLINE [FILTER]; run.py --write FOLDER only writes the files, for test_corpus."""
import concurrent.futures
import os
import resource
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cases import CASES  # noqa: E402

EXIT = {"OK": 0, "PARSE": 3, "INVALID": 3, "UNSUPPORTED": 3, "LIMIT": 3, "INTERNAL": 3, "IO": 5, "INPUT": 5, "OOM": 5, "CANCELLED": 5}
SANITIZED = "SKYLINE_SANITIZED" in os.environ  # a sanitizer reserves terabytes of addresses


def write(folder):
    lines = []
    for c in CASES:
        path = os.path.join(folder, c.name)
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "model.onnx"), "wb") as f:
            f.write(c.data)
        for name, tensor in c.inputs.items():
            with open(os.path.join(path, name + ".pb"), "wb") as f:
                f.write(tensor.proto(name))
        lines.append("\t".join([c.name, "|".join(c.expected), str(c.timeout), *c.inputs]))
    with open(os.path.join(folder, "cases.tsv"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


def bound_memory():
    if not SANITIZED:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def check(skyline, folder, c):
    """None, or what is wrong."""
    command = [skyline, "run", os.path.join(folder, c.name, "model.onnx")]
    for name in c.inputs:
        command += ["--input", f"{name}={os.path.join(folder, c.name, name)}.pb"]
    if c.timeout:
        command += ["--timeout", str(c.timeout)]
    try:
        r = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, preexec_fn=bound_memory)
    except subprocess.TimeoutExpired:
        return "hangs"
    said = r.stderr.decode(errors="replace")
    first = said.splitlines()[0] if said else ""
    if r.returncode < 0:
        return f"died of signal {-r.returncode}: {first}"
    status = "OK" if r.returncode == 0 else first.removeprefix("skyline: ").split(":")[0]
    if status not in c.expected:
        return f"exit {r.returncode}, {first or 'no message'!r}; expected {'|'.join(c.expected)}"
    if r.returncode != EXIT.get(status, -1):
        return f"exit {r.returncode} for {status}"
    lines = len(said.splitlines())
    if lines != (status != "OK") and status != "UNSUPPORTED":  # which lists every node that cannot be run
        return f"{lines} lines on stderr"
    return None


def main():
    if sys.argv[1] == "--write":
        write(sys.argv[2])
        return 0
    skyline, chosen = sys.argv[1], [c for c in CASES if len(sys.argv) < 3 or sys.argv[2] in c.name]
    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            wrong = [(c.name, w) for c, w in zip(chosen, pool.map(lambda c: check(skyline, folder, c), chosen)) if w]
    for name, what in wrong:
        print(f"FAILED {name}: {what}")
    print(f"corpus: {len(chosen) - len(wrong)} of {len(chosen)} as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
