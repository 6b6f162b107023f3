"""ONNX Runtime (CPU) behind the interface of session.py."""

import numpy as np

from session import EngineError, EngineUnavailable, Port

try:
    import onnxruntime as ort
except ImportError as error:
    raise EngineUnavailable(f"onnxruntime cannot be imported ({error}); run third_party/python/venv.sh") from error

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int16)": np.int16,
    "tensor(uint16)": np.uint16,
    "tensor(int32)": np.int32,
    "tensor(uint32)": np.uint32,
    "tensor(int64)": np.int64,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


def _ports(arguments):
    return [Port(a.name, np.dtype(_DTYPES[a.type]), tuple(a.shape)) for a in arguments]


class Session:
    def __init__(self, path, threads=1, optimize=True):
        """`optimize` False keeps the graph as it is in the file: the operators' definitions, literally."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base class for its errors
            raise EngineError(f"onnxruntime: {error}") from error
        self.inputs = _ports(self._session.get_inputs())
        self.outputs = _ports(self._session.get_outputs())
        self._names = [port.name for port in self.outputs]

    def run(self, feeds):
        try:
            return dict(zip(self._names, self._session.run(self._names, {name: np.asarray(array) for name, array in feeds.items()})))
        except Exception as error:
            raise EngineError(f"onnxruntime: {error}") from error

    def prepare(self, feeds):
        """Through an IO binding: inputs bound once, outputs left where the engine allocates them."""
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))
        for name in self._names:
            binding.bind_output(name, "cpu")
        session = self._session
        return lambda: session.run_with_iobinding(binding)

    def close(self):
        self._session = None


def version():
    return f"onnxruntime {ort.__version__}"
