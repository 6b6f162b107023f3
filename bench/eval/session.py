"""The interface that every engine offers to the tools, and the table of engines.

A backend is a class with the constructor Session(path, threads=1, **options), the lists `inputs` and `outputs`
of Port, and

    run(feeds)      dict of numpy arrays in, dict of numpy arrays out
    prepare(feeds)  a function without arguments that runs on these feeds with as little Python around the
                    engine as its interface allows; what it returns is unspecified
    close()         ends the engine's threads; the session is unusable afterwards
"""

import dataclasses
import importlib


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output: `shape` has an int where the extent is fixed, else its name or None."""

    name: str
    dtype: object  # numpy dtype
    shape: tuple


class EngineUnavailable(Exception):
    """The engine cannot be loaded at all; the message says what to do."""


class EngineError(Exception):
    """The engine refused a model or an input."""


# Engine -> its module. Those of bench/peers are found only by the tools there, which put that folder on the path.
MODULES = {"skyline": "skyline_py", "ort": "ort_py", "openvino": "openvino_py", "ncnn": "ncnn_py"}
ENGINES = ("skyline", "ort")  # that the tools of this folder use


def open_session(engine, path, threads=1, **options):
    """Opens the model with the named engine; raises EngineUnavailable or EngineError."""
    if engine not in MODULES:
        raise ValueError(f"engine {engine!r}: expected one of {', '.join(MODULES)}")
    return importlib.import_module(MODULES[engine]).Session(path, threads=threads, **options)
