"""cuBLAS and cuBLASLt through ctypes: CuPy's own functions refuse while a stream is captured.

Arrays are row-major and the libraries column-major, so out = a @ b is computed as out^T = b^T @ a^T.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from ctypes import byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any

WORKSPACE_BYTES = 32 * 1024 * 1024  # what NVIDIA recommends for Hopper
CUDA_R_32F = 0
CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_COMPUTE_32F = 68
# cublasLtMatmulDescAttributes_t
CUBLASLT_MATMUL_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSB = 3, 4
CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_BIAS_POINTER = 7, 8
CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1  # cublasLtMatmulPreferenceAttributes_t
CUBLASLT_EPILOGUE_RELU_BIAS = 6  # cublasLtEpilogue_t

# library: {function: types of its arguments}
FUNCTIONS: dict[str, dict[str, list[Any]]] = {
    "cublas": {
        "cublasSetStream_v2": [c_void_p, c_void_p],
        "cublasSetWorkspace_v2": [c_void_p, c_void_p, c_size_t],
        "cublasGemmEx": [
            c_void_p, c_int, c_int, c_int, c_int, c_int, c_void_p, c_void_p, c_int, c_int, c_void_p, c_int, c_int,
            c_void_p, c_void_p, c_int, c_int, c_int, c_int,
        ],
    },
    "cublasLt": {
        "cublasLtCreate": [c_void_p],
        "cublasLtMatmulDescCreate": [c_void_p, c_int, c_int],
        "cublasLtMatmulDescSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
        "cublasLtMatrixLayoutCreate": [c_void_p, c_int, c_uint64, c_uint64, c_int64],
        "cublasLtMatmulPreferenceCreate": [c_void_p],
        "cublasLtMatmulPreferenceSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
        "cublasLtMatmulAlgoGetHeuristic": [
            c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_int, c_void_p, c_void_p,
        ],
        "cublasLtMatmul": [
            c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p,
            c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p,
        ],
    },
}  # fmt: skip


class Algorithm(ctypes.Structure):
    """cublasLtMatmulAlgo_t."""

    _fields_ = [("data", c_uint64 * 8)]


class HeuristicResult(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = [
        ("algo", Algorithm),
        ("workspaceSize", c_size_t),
        ("state", c_int),
        ("wavesCount", c_float),
        ("reserved", c_int * 4),
    ]


def load_library(name: str) -> Any:
    """Return "cublas" or "cublasLt" as CuPy finds it."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    library = ctypes.CDLL(load_nvidia_dynamic_lib(name).abs_path)
    for function, types in FUNCTIONS[name].items():
        getattr(library, function).argtypes = types
    return library


def check(name: str, status: int) -> None:
    """Raise RuntimeError for the status of a function that is not success."""
    if status:
        raise RuntimeError(f"{name} returned status {status}")


@contextlib.contextmanager
def capturable_products(cp: Any) -> Iterator[None]:
    """Let CuPy's matrix products on the current stream call cuBLAS directly, so that they can be captured."""
    from cupy_backends.cuda.libs import cublas

    library = load_library("cublas")
    handle = cp.cuda.device.get_cublas_handle()
    workspace = cp.empty(WORKSPACE_BYTES, dtype="uint8")
    check("cublasSetStream", library.cublasSetStream_v2(handle, cp.cuda.get_current_stream().ptr))
    check("cublasSetWorkspace", library.cublasSetWorkspace_v2(handle, workspace.data.ptr, WORKSPACE_BYTES))

    def gemm_ex(*arguments: int) -> None:
        check("cublasGemmEx", library.cublasGemmEx(*arguments))

    original = cublas.gemmEx
    cublas.gemmEx = gemm_ex
    try:
        yield
    finally:
        cublas.gemmEx = original


def column_major(array: Any) -> tuple[int, int, int, int]:
    """Return rows, columns, leading dimension and operation by which a column-major library reads array^T."""
    rows, columns = array.shape
    if array.flags.c_contiguous:
        return columns, rows, columns, CUBLAS_OP_N
    if array.flags.f_contiguous:
        return rows, columns, rows, CUBLAS_OP_T
    raise ValueError(f"an array of shape {array.shape} is neither C- nor Fortran-contiguous")


class CublasLt:
    """cuBLASLt with a workspace of its own."""

    def __init__(self, cp: Any) -> None:
        self.cp, self.library = cp, load_library("cublasLt")
        self.handle = c_void_p()
        self.call("cublasLtCreate", byref(self.handle))
        self.workspace = cp.empty(WORKSPACE_BYTES, dtype="uint8")

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the library; RuntimeError if it fails."""
        check(name, getattr(self.library, name)(*arguments))

    def product(self, a: Any, b: Any, out: Any, bias: Any = None) -> Any:
        """Return a function that computes out = a @ b, with a `bias` out = max(a @ b + bias, 0), on the current stream.

        Operands are C-contiguous or transposed views of such arrays, all float32.
        """
        description, layouts, preference = describe(self.library, a, b, out, bias)
        result, found = HeuristicResult(), c_int(0)
        self.call(
            "cublasLtMatmulAlgoGetHeuristic", self.handle, description, *layouts, layouts[2], preference, 1,
            byref(result), byref(found),
        )  # fmt: skip
        if not found.value:
            raise RuntimeError("cublasLt has no algorithm for this product")
        one, zero = c_float(1.0), c_float(0.0)
        arguments = (
            self.handle, description, byref(one), b.data.ptr, layouts[0], a.data.ptr, layouts[1], byref(zero),
            out.data.ptr, layouts[2], out.data.ptr, layouts[2], byref(result.algo), self.workspace.data.ptr,
            WORKSPACE_BYTES, self.cp.cuda.get_current_stream().ptr,
        )  # fmt: skip
        matmul = self.library.cublasLtMatmul

        def compute() -> None:
            check("cublasLtMatmul", matmul(*arguments))

        return compute


def describe(library: Any, a: Any, b: Any, out: Any, bias: Any = None) -> tuple[c_void_p, list[c_void_p], c_void_p]:
    """Return descriptor, layouts of b, a and out, and preference of a product; needs no device."""
    description, preference = c_void_p(), c_void_p()
    check(
        "cublasLtMatmulDescCreate", library.cublasLtMatmulDescCreate(byref(description), CUBLAS_COMPUTE_32F, CUDA_R_32F)
    )
    attributes: list[tuple[int, Any]] = []
    layouts = []
    for array, attribute in ((b, CUBLASLT_MATMUL_DESC_TRANSA), (a, CUBLASLT_MATMUL_DESC_TRANSB), (out, None)):
        rows, columns, leading, operation = column_major(array)
        layout = c_void_p()
        status = library.cublasLtMatrixLayoutCreate(byref(layout), CUDA_R_32F, rows, columns, leading)
        check("cublasLtMatrixLayoutCreate", status)
        layouts.append(layout)
        if attribute is not None:
            attributes.append((attribute, c_int32(operation)))
    if bias is not None:
        attributes.append((CUBLASLT_MATMUL_DESC_EPILOGUE, c_int32(CUBLASLT_EPILOGUE_RELU_BIAS)))
        attributes.append((CUBLASLT_MATMUL_DESC_BIAS_POINTER, c_void_p(bias.data.ptr)))
    for key, value in attributes:
        status = library.cublasLtMatmulDescSetAttribute(description, key, byref(value), ctypes.sizeof(value))
        check("cublasLtMatmulDescSetAttribute", status)
    check("cublasLtMatmulPreferenceCreate", library.cublasLtMatmulPreferenceCreate(byref(preference)))
    size = c_uint64(WORKSPACE_BYTES)
    status = library.cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, byref(size), ctypes.sizeof(size)
    )
    check("cublasLtMatmulPreferenceSetAttribute", status)
    return description, layouts, preference
