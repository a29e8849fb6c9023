"""Fake CuPy for the measurements: computes with NumPy, notes every call, and replays captured calls as a graph does.

A call during a capture is computed to learn its result; what it has overwritten is set back when the capture ends.
"""

import contextlib
import ctypes
import types
from typing import ClassVar

import numpy as np


class FakeArray(np.ndarray):
    """NumPy array whose operators, ufuncs and functions are noted while a stream is captured."""

    tape = None  # of the capture in progress; one for all arrays
    attributes: ClassVar[set[str]] = set()

    def __getattribute__(self, name):
        if not name.startswith("_"):
            FakeArray.attributes.add(name)
        return super().__getattribute__(name)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return computed(getattr(ufunc, method), inputs, options)

    def __array_function__(self, function, kinds, inputs, options):
        return computed(function, inputs, options)

    def astype(self, dtype, **options):
        return computed(np.ndarray.astype, (self, dtype), options)

    def fill(self, value):
        computed(np.ndarray.fill, (self, value), {}, written=self)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=plain(self).ctypes.data)

    def __dlpack__(self, *arguments):
        raise TypeError("not to the host")


def plain(value):
    """Return a value with NumPy's arrays in place of fake ones, which share their memory."""
    if isinstance(value, FakeArray):
        return np.ndarray.view(value, np.ndarray)
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    return value


def computed(function, inputs, options, written=None):
    """Compute a call; while a stream is captured, put it on the tape."""
    inputs, options = plain(list(inputs)), {name: plain(value) for name, value in options.items()}
    out = options.get("out")
    target = written if written is not None else out[0] if isinstance(out, tuple) else out
    if target is None and function is np.copyto:
        target = inputs[0]
    tape = FakeArray.tape
    if tape is not None and target is not None:
        tape.before.append((plain(target), np.array(plain(target))))
    result = function(*inputs, **options)
    if target is None and isinstance(result, np.ndarray | np.generic):
        result = np.asarray(result)
        if any(isinstance(a, np.ndarray) and np.shares_memory(a, result) for a in inputs):
            return result.view(FakeArray)  # a view, made once
        if tape is not None:
            tape.calls.append(lambda: np.copyto(result, function(*inputs, **options)))
        return result.view(FakeArray)
    if tape is not None:
        tape.calls.append(lambda: function(*inputs, **options))
    return result if target is None else target  # a fact about arrays, as may_share_memory gives it


class Tape:
    """Calls of a capture, and what they have overwritten."""

    def __init__(self):
        self.calls, self.before = [], []


class FakeCupy:
    """Fake of the module cupy. `heard` holds (path, number of arguments, names of arguments) of every call."""

    __version__ = "0"

    def __init__(self):
        self.heard = set()
        cupy = self

        class Noted:
            """Base of the classes of cupy.cuda; notes its calls as methods of the class of that name."""

            def __init_subclass__(cls):
                for name, member in vars(cls).copy().items():
                    if isinstance(member, types.FunctionType) and not name.startswith("_"):
                        setattr(cls, name, cupy.noted(f"cuda.{cls.__name__}.{name}", member, method=True))

        class Stream(Noted):
            current = None
            ptr = 7

            def __init__(self, non_blocking=False):
                cupy.heard.add(("cuda.Stream", 0, ("non_blocking",)))

            def __enter__(self):
                self.outer, Stream.current = Stream.current, self

            def __exit__(self, *error):
                Stream.current = self.outer

            def synchronize(self):
                pass

            def begin_capture(self):
                assert FakeArray.tape is None
                FakeArray.tape = Tape()

            def end_capture(self):
                tape, FakeArray.tape = FakeArray.tape, None
                for array, before in reversed(tape.before):
                    array[...] = before
                return Graph(tape)

        class Graph(Noted):
            graph = 11

            def __init__(self, tape):
                self.tape = tape

            def launch(self):
                for call in self.tape.calls:
                    call()

            def upload(self):
                pass

        class Event(Noted):
            def __init__(self):
                cupy.heard.add(("cuda.Event", 0, ()))

            def record(self):
                assert Stream.current is not None, "an event outside the stream that is measured"

            def synchronize(self):
                pass

        class MemoryPool(Noted):
            def __init__(self):
                cupy.heard.add(("cuda.MemoryPool", 0, ()))

            def malloc(self, size):
                pass

            def total_bytes(self):
                return 0

        runtime = types.SimpleNamespace(runtimeGetVersion=lambda: 13020)
        self.cuda = types.SimpleNamespace(
            Stream=Stream,
            Event=Event,
            MemoryPool=MemoryPool,
            Device=lambda ordinal: contextlib.nullcontext(),
            runtime=runtime,
            using_allocator=self.noted("cuda.using_allocator", lambda allocator: contextlib.nullcontext()),
            get_current_stream=self.noted("cuda.get_current_stream", lambda: Stream.current),
            get_elapsed_time=self.noted("cuda.get_elapsed_time", lambda start, end: 0.25),
            device=types.SimpleNamespace(get_cublas_handle=self.noted("cuda.device.get_cublas_handle", lambda: 5)),
        )
        self.linalg = types.SimpleNamespace(
            norm=self.noted("linalg.norm", lambda a: computed(np.linalg.norm, (a,), {}))
        )

    def noted(self, path, function, method=False):
        """Return a function that notes its calls."""

        def call(*positional, **named):
            self.heard.add((path, len(positional) - method, tuple(sorted(named))))
            return function(*positional, **named)

        return call

    def __getattr__(self, name):
        function = {"asarray": np.array, "asnumpy": np.array}.get(name) or getattr(np, name)

        def call(*positional, **named):
            if name == "asnumpy":
                assert FakeArray.tape is None, "a transfer to the host during a capture"
                return np.array(plain(positional[0]))
            if name in ("asarray", "array"):
                return np.array(plain(positional[0])).view(FakeArray)
            return computed(function, positional, named)

        return self.noted(name, call)

    def fuse(self, kernel_name):
        self.heard.add(("fuse", 0, ("kernel_name",)))
        return lambda function: function

    def ElementwiseKernel(self, inputs, outputs, operation, name):  # noqa: N802
        self.heard.add(("ElementwiseKernel", 4, ()))
        return lambda x, y: (x * np.float32(0.9) + y) * y - x

    def RawKernel(self, code, name):  # noqa: N802
        self.heard.add(("RawKernel", 2, ()))
        assert f"void {name}(" in code

        def launch(grid, block, arguments):
            if name == "increment":
                computed(np.add, (arguments[0], np.float32(1)), {"out": arguments[0]})

        return launch


class FakeCublasLt:
    """Fake of cuBLASLt that reads layouts and descriptors as the library does, and multiplies column-major matrices."""

    def __init__(self):
        self.objects = {}
        self.streams = set()

    def __getattr__(self, name):
        def function(*arguments):
            return 0

        return function

    def make(self, pointer, content):
        key = len(self.objects) + 1
        self.objects[key] = content
        pointer._obj.value = key
        return 0

    def cublasLtMatmulDescCreate(self, pointer, compute_type, scale_type):  # noqa: N802
        assert (compute_type, scale_type) == (68, 0)
        return self.make(pointer, {})

    def cublasLtMatrixLayoutCreate(self, pointer, kind, rows, columns, leading):  # noqa: N802
        assert kind == 0
        return self.make(pointer, (rows, columns, leading))

    def cublasLtMatmulPreferenceCreate(self, pointer):  # noqa: N802
        return self.make(pointer, {})

    def cublasLtMatmulDescSetAttribute(self, description, key, value, size):  # noqa: N802
        assert size == ctypes.sizeof(value._obj)
        self.objects[description.value][key] = value._obj.value
        return 0

    def cublasLtMatmulAlgoGetHeuristic(self, *arguments):  # noqa: N802
        arguments[-1]._obj.value = 1
        return 0

    def matrix(self, layout, pointer):
        rows, columns, leading = self.objects[layout.value]
        assert leading >= rows
        buffer = (ctypes.c_float * (leading * columns)).from_address(pointer)
        return np.frombuffer(buffer, np.float32).reshape(columns, leading).T[:rows]

    def cublasLtMatmul(self, handle, description, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, *rest):  # noqa: N802
        d_layout, _, _, _, stream = rest
        self.streams.add(stream)
        attributes = self.objects[description.value]
        left, right, out = self.matrix(a_layout, a), self.matrix(b_layout, b), self.matrix(d_layout, d)
        left = left.T if attributes[3] else left
        right = right.T if attributes[4] else right
        result = left @ right
        if attributes.get(7) == 6:
            bias = np.frombuffer((ctypes.c_float * len(out)).from_address(attributes[8]), np.float32)
            result = np.maximum(result + bias[:, None], 0)
        out[...] = result
        return 0
