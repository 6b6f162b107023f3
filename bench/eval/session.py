"""The interface that every engine offers to the tools, and the table of engines.

A backend is a class with the constructor Session(path, threads=1, **options), the lists `inputs` and `outputs`
of Port, and

    run(feeds)      dict of numpy arrays in, dict of numpy arrays out
    prepare(feeds)  a function without arguments that runs on these feeds with as little Python around the
                    engine as its interface allows; what it returns is unspecified
    close()         ends the engine's threads; the session is unusable afterwards
"""

import dataclasses


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


ENGINES = ("skyline", "ort")


def open_session(engine, path, threads=1, **options):
    """Opens the model with the named engine; raises EngineUnavailable or EngineError."""
    if engine == "skyline":
        import skyline_py

        return skyline_py.Session(path, threads=threads, **options)
    if engine == "ort":
        import ort_py

        return ort_py.Session(path, threads=threads, **options)
    raise ValueError(f"engine {engine!r}: expected one of {', '.join(ENGINES)}")
