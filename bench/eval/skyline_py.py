"""Skyline through its C API (engine/include/skyline/skyline_c.h), behind the interface of session.py."""

import ctypes
import os
import pathlib

import numpy as np
from ml_dtypes import bfloat16

from session import EngineError, EngineUnavailable, Port

_DTYPES = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
    16: bfloat16,
}
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
_MAX_RANK = 64


class _Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 1024)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
        ("data", ctypes.c_void_p),
    ]


class _Options(ctypes.Structure):
    _fields_ = [
        ("threads", ctypes.c_int32),
        ("isa", ctypes.c_char_p),
        ("precision", ctypes.c_char_p),
        ("optimize", ctypes.c_int32),
    ]


_SIGNATURES = {
    "skyline_version": (ctypes.c_char_p, []),
    "skyline_options_init": (None, [ctypes.POINTER(_Options)]),
    "skyline_session_load": (
        ctypes.c_int,
        [ctypes.c_char_p, ctypes.POINTER(_Options), ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(_Error)],
    ),
    "skyline_session_free": (None, [ctypes.c_void_p]),
    "skyline_run": (
        ctypes.c_int,
        [
            ctypes.c_void_p,
            ctypes.POINTER(_Tensor),
            ctypes.c_size_t,
            ctypes.c_double,
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.POINTER(_Error),
        ],
    ),
    "skyline_results_get": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(_Tensor), ctypes.POINTER(_Error)],
    ),
    "skyline_results_free": (None, [ctypes.c_void_p]),
}
for _side in ("input", "output"):
    _SIGNATURES |= {
        f"skyline_{_side}_count": (ctypes.c_size_t, [ctypes.c_void_p]),
        f"skyline_{_side}_name": (ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_size_t]),
        f"skyline_{_side}_dtype": (ctypes.c_int32, [ctypes.c_void_p, ctypes.c_size_t]),
        f"skyline_{_side}_shape": (
            ctypes.c_int32,
            [ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int64), ctypes.c_int32],
        ),
    }


def find_library(path=None):
    """The argument, else SKYLINE_LIBRARY, else the one of the release build, else the newest of any build."""
    named = path or os.environ.get("SKYLINE_LIBRARY")
    if named:
        return pathlib.Path(named)
    build = pathlib.Path(__file__).resolve().parents[2] / "build"
    usual = build / "release/engine/libskyline.so"  # a walk through the build takes 30 ms, which load times would show
    if usual.exists():
        return usual
    for folder in (build / "release", build):
        found = sorted(folder.glob("**/libskyline.so"), key=lambda p: p.stat().st_mtime)
        if found:
            return found[-1]
    raise EngineUnavailable(f"no libskyline.so below {build}: build the target skyline_shared, or pass --library")


_loaded = {}


def _load(path):
    path = str(find_library(path).resolve())
    if path not in _loaded:
        try:
            library = ctypes.CDLL(path)
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            raise EngineUnavailable(f"{path}: {error}") from error
        _loaded[path] = library
    return _loaded[path]


def _check(code, error):
    if code != 0:
        raise EngineError(f"skyline: {error.message.decode(errors='replace')}")


class Session:
    def __init__(self, path, threads=1, library=None, optimize=True, precision=None, isa=None):
        self._library = _load(library)
        options, error = _Options(), _Error()
        self._library.skyline_options_init(options)
        options.threads, options.optimize = threads, int(optimize)
        options.precision = precision.encode() if precision else None
        options.isa = isa.encode() if isa else None
        self._handle = ctypes.c_void_p()
        code = self._library.skyline_session_load(os.fsencode(path), options, self._handle, error)
        _check(code, error)
        self.inputs, self.outputs = self._ports("input"), self._ports("output")

    def _ports(self, side):
        call = lambda what, *arguments: getattr(self._library, f"skyline_{side}_{what}")(self._handle, *arguments)
        ports, dims = [], (ctypes.c_int64 * _MAX_RANK)()
        for i in range(call("count")):
            rank = max(call("shape", i, dims, _MAX_RANK), 0)
            shape = tuple(extent if extent >= 0 else None for extent in dims[:rank])
            dtype = _DTYPES.get(call("dtype", i))
            ports.append(Port(call("name", i).decode(), np.dtype(dtype) if dtype else None, shape))
        return ports

    def _tensors(self, feeds):
        """The C array of the inputs, and what must stay alive as long as it."""
        missing = [port.name for port in self.inputs if port.name not in feeds]
        if missing or len(feeds) != len(self.inputs):
            raise EngineError(f"skyline: expected the inputs {[port.name for port in self.inputs]}, got {list(feeds)}")
        tensors, alive = (_Tensor * len(self.inputs))(), []
        for tensor, port in zip(tensors, self.inputs, strict=True):
            array = np.asarray(feeds[port.name])
            array = array if array.flags.c_contiguous else array.copy()
            dims = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
            if array.dtype not in _CODES:
                raise EngineError(f"skyline: input {port.name}: {array.dtype} cannot be passed through the C API")
            tensor.dtype, tensor.rank = _CODES[array.dtype], array.ndim
            tensor.dims, tensor.data = dims, array.ctypes.data
            alive += [array, dims]
        return tensors, alive

    def _output(self, results, index):
        tensor, error = _Tensor(), _Error()
        _check(self._library.skyline_results_get(results, index, tensor, error), error)
        dtype, shape = np.dtype(_DTYPES[tensor.dtype]), tuple(tensor.dims[: tensor.rank])
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        content = ctypes.string_at(tensor.data, size) if size else b""
        return np.frombuffer(bytearray(content), dtype).reshape(shape)

    def run(self, feeds):
        tensors, _alive = self._tensors(feeds)
        results, error = ctypes.c_void_p(), _Error()
        code = self._library.skyline_run(self._handle, tensors, len(tensors), 0.0, results, error)
        _check(code, error)
        try:
            return {port.name: self._output(results, i) for i, port in enumerate(self.outputs)}
        finally:
            self._library.skyline_results_free(results)

    def prepare(self, feeds):
        tensors, alive = self._tensors(feeds)
        results, error = ctypes.c_void_p(), _Error()
        # Functions looked up by [] have no argument types: ctypes passes the ready-made arguments as they are,
        # which halves the time that Python adds to a run.
        run, free = self._library["skyline_run"], self._library["skyline_results_free"]
        free.restype = None
        first, out, failure = ctypes.byref(tensors), ctypes.byref(results), ctypes.byref(error)
        handle, count, deadline = self._handle, ctypes.c_size_t(len(tensors)), ctypes.c_double(0.0)

        def call(_alive=(tensors, alive)):
            if run(handle, first, count, deadline, out, failure):
                _check(error.code, error)
            free(results)

        return call

    def close(self):
        if self._handle:
            self._library.skyline_session_free(self._handle)
            self._handle = ctypes.c_void_p()

    def __del__(self):
        if getattr(self, "_handle", None):
            self.close()


def version(library=None):
    return f"skyline {_load(library).skyline_version().decode()}"
