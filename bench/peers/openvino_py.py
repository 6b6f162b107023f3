"""OpenVINO (CPU) behind the interface of bench/eval/session.py.

Three of its defaults would make the comparison unfair and are set by hand: f32 models run in bf16 on CPUs with AMX,
the number of threads and streams follows the machine, and the hint is left to the plugin. Inputs are of the shapes
that the first feeds have: OpenVINO is slower on symbolic shapes.
"""

import numpy as np
from session import EngineError, EngineUnavailable, Port

try:
    import openvino
except ImportError as error:
    raise EngineUnavailable(f"openvino cannot be imported ({error}); run ./run peers") from error


def _ports(values):
    return [
        Port(
            value.any_name,
            np.dtype(value.element_type.to_dtype()),
            tuple(d.get_length() if d.is_static else None for d in value.partial_shape),
        )
        for value in values
    ]


class Session:
    def __init__(self, path, threads=1, shapes=None, precision=None):
        """`shapes` maps inputs to the shapes that they will have; rungs that OpenVINO has not are f32."""
        settings = {
            "INFERENCE_PRECISION_HINT": precision if precision in ("bf16", "f16") else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }
        try:
            core = openvino.Core()
            model = core.read_model(path)
            if shapes and any(value.partial_shape.is_dynamic for value in model.inputs):
                model.reshape({name: list(shape) for name, shape in shapes.items()})
            self._model = core.compile_model(model, "CPU", settings)
            self._request = self._model.create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"openvino: {error}") from error
        self.inputs, self.outputs = _ports(self._model.inputs), _ports(self._model.outputs)

    def run(self, feeds):
        try:
            results = self._request.infer({name: np.array(array) for name, array in feeds.items()})
            return {port.name: np.array(results[i]) for i, port in enumerate(self.outputs)}
        except RuntimeError as error:
            raise EngineError(f"openvino: {error}") from error

    def prepare(self, feeds):
        """With the inputs bound once, through the binding below the class of the Python package."""
        self._bound = []  # shared memory is not kept alive by its Tensor
        for port, value in zip(self.inputs, self._model.inputs, strict=True):
            array = np.array(feeds[port.name], order="C")  # a copy: OpenVINO refuses what is read-only
            self._bound.append(array)
            self._request.set_tensor(value, openvino.Tensor(array, shared_memory=True))
        infer, request = type(self._request).__mro__[1].infer, self._request
        return lambda: infer(request, {}, True, False)

    def close(self):
        self._request = self._model = self._bound = None


def version():
    return f"openvino {openvino.__version__}"
