"""ncnn (CPU) behind the interface of bench/eval/session.py, for the f32 models that its converter pnnx takes.

pnnx comes as a program in a wheel of PyPI. What it makes of a model stays in a folder beside the build.
"""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnx
from session import EngineError, EngineUnavailable, Port

try:
    import ncnn
except ImportError as error:
    raise EngineUnavailable(f"ncnn cannot be imported ({error}); run ./run peers") from error

CACHE = pathlib.Path(__file__).resolve().parents[2] / "build" / "ncnn"
_SUFFIX = {np.dtype(np.float32): "f32", np.dtype(np.int64): "i64", np.dtype(np.int32): "i32"}


def _converter():
    for folder in map(pathlib.Path, sys.path):
        if (folder / "pnnx" / "pnnx").is_file():
            return folder / "pnnx" / "pnnx"
    raise EngineUnavailable("pnnx is not installed; run ./run peers")


def _ports(values):
    return [
        Port(
            value.name,
            np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim),
        )
        for value in values
    ]


def convert(path, inputs, shapes):
    """The stem of model.ncnn.param and .bin, made when missing or older than the model. Conversion is tried once."""
    path = pathlib.Path(path).resolve()
    name = "_".join([path.parent.name, *("x".join(map(str, shapes[port.name])) for port in inputs)])[:150]
    folder = CACHE / name
    copy, log = folder / "model.onnx", folder / "log"
    if not log.exists() or log.stat().st_mtime < path.stat().st_mtime:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        copy.symlink_to(path)
        try:
            wanted = ",".join(
                f"[{','.join(map(str, shapes[port.name]))}]{_SUFFIX[np.dtype(port.dtype)]}" for port in inputs
            )
        except KeyError as error:
            raise EngineError(f"ncnn: no input of type {error}") from error
        command = [_converter(), copy, f"inputshape={wanted}", "fp16=0"]
        _converter().chmod(0o755)
        child = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)
        log.write_text(child.stdout + child.stderr)
        for left in folder.glob("*.pnnx*"):
            left.unlink()
    if not (folder / "model.ncnn.param").exists():
        raise EngineError("ncnn: pnnx cannot convert the model")
    return folder / "model.ncnn"


class Session:
    def __init__(self, path, threads=1, shapes=None):
        graph = onnx.load(path, load_external_data=False).graph
        constants = {tensor.name for tensor in graph.initializer}
        self.inputs = _ports([value for value in graph.input if value.name not in constants])
        self.outputs = _ports(graph.output)
        if shapes is None:
            shapes = {port.name: port.shape for port in self.inputs}
        stem = convert(path, self.inputs, shapes)
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        options.use_vulkan_compute = False
        if self._net.load_param(f"{stem}.param") != 0 or self._net.load_model(f"{stem}.bin") != 0:
            raise EngineError("ncnn: the converted model does not load")

    def _mats(self, feeds):
        mats = []
        for port in self.inputs:
            array = np.ascontiguousarray(feeds[port.name])
            if array.dtype == np.int64:
                array = array.astype(np.int32)
            mats.append(ncnn.Mat(array[0] if array.ndim > 1 and array.shape[0] == 1 else array).clone())
        return mats

    def _extract(self, mats):
        extractor = self._net.create_extractor()
        for i, mat in enumerate(mats):
            extractor.input(f"in{i}", mat)
        results = []
        for i in range(len(self.outputs)):
            status, mat = extractor.extract(f"out{i}")
            if status != 0:
                raise EngineError(f"ncnn: output {i}: status {status}")
            results.append(mat)
        return results

    def run(self, feeds):
        results = self._extract(self._mats(feeds))
        return {port.name: np.array(mat) for port, mat in zip(self.outputs, results, strict=True)}

    def prepare(self, feeds):
        mats = self._mats(feeds)
        return lambda: self._extract(mats)

    def close(self):
        self._net.clear()


def version():
    return f"ncnn {ncnn.__version__}"
