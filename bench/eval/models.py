"""Where the models are, and reading what lies beside them."""

import os
import pathlib

import numpy as np
import onnx
from onnx import numpy_helper

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DIGITS = REPOSITORY / "tests" / "data" / "digits"


def default_directory():
    """SKYLINE_MODELS, else shared/models beside the repository. It need not exist."""
    return pathlib.Path(os.environ.get("SKYLINE_MODELS") or REPOSITORY.parent / "shared" / "models")


class Collection:
    """The model `digits` of this repository, those of a directory in the layout of its MANIFEST.md, and those that
    bench/models built, where that folder is named."""

    def __init__(self, directory, built=None):
        self.directory = pathlib.Path(directory)
        self.built = pathlib.Path(built) if built else None
        self.data = self.directory / "data"

    def exists(self):
        return (self.directory / "models").is_dir()

    def names(self):
        found = sorted(p.parent.name for p in self.directory.glob("models/*/model.onnx")) if self.exists() else []
        built = sorted(p.parent.name for p in self.built.glob("*/model.onnx")) if self.built else []
        return ["digits", *found, *(name for name in built if name not in found)]

    def folder(self, name):
        if name == "digits":
            return DIGITS
        shared = self.directory / "models" / name
        return self.built / name if self.built and not shared.exists() else shared

    def path(self, name):
        return self.folder(name) / "model.onnx"


def read_tensor(path):
    return numpy_helper.to_array(onnx.load_tensor(path))


def sample_feeds(folder, inputs):
    """The inputs of test_data_set_0 as a dict, or None when the folder has none. `inputs` are Ports in order."""
    files = [folder / "test_data_set_0" / f"input_{i}.pb" for i in range(len(inputs))]
    if not all(file.exists() for file in files):
        return None
    return {port.name: np.asarray(read_tensor(file), order="C") for port, file in zip(inputs, files)}
