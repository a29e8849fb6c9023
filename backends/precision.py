"""Precision of matrix products: environment variables that change it, and what the self-test of a device found.

Lagvis sets full precision wherever a library has a setting for it: that wins over CUPY_TF32,
TORCH_ALLOW_TF32_CUBLAS_OVERRIDE and JAX_DEFAULT_MATMUL_PRECISION. The variables named here are read by libraries below
them, which have no such setting.
"""

import os
from dataclasses import dataclass

import numpy as np

from lagvis.option_text import option

MIN_TF32_ERROR, MAX_TF32_ERROR = 2.0**-12, 2.0**-10  # TF32 keeps ten bits of the fraction, rounded or cut off
MAX_PRODUCT_ERROR = 2.0**-6  # above that of bfloat16, which keeps seven bits: a wrong result
FULL = "full"


@dataclass(frozen=True)
class Override:
    """Environment variable that can change the bits of a result.

    effect    what may happen, as a clause
    backends  names of the backends whose libraries read it
    devices   kinds of device on which they do
    harmless  values that change nothing
    """

    effect: str
    backends: tuple[str, ...]
    devices: tuple[str, ...]
    harmless: tuple[str, ...] = ()


CUDA_BACKENDS = ("cupy", "torch", "jax")
ONEDNN = Override("oneDNN may round float32 products", ("torch", "jax"), ("cpu", "xpu"), ("STRICT", "strict", ""))
OVERRIDES = {
    "NVIDIA_TF32_OVERRIDE": Override("cuBLAS may round float32 products to TF32", CUDA_BACKENDS, ("cuda",), ("0",)),
    "CUBLAS_EMULATE_SINGLE_PRECISION": Override(
        "cuBLAS may emulate float32 products", CUDA_BACKENDS, ("cuda",), ("0", "")
    ),
    "CUBLAS_EMULATE_DOUBLE_PRECISION": Override(
        "cuBLAS may emulate float64 products", CUDA_BACKENDS, ("cuda",), ("0", "")
    ),
    "CUBLAS_WORKSPACE_CONFIG": Override("cuBLAS may add up products in another order", CUDA_BACKENDS, ("cuda",), ("",)),
    "ONEDNN_DEFAULT_FPMATH_MODE": ONEDNN,
    "DNNL_DEFAULT_FPMATH_MODE": ONEDNN,
    "PYTORCH_MPS_FAST_MATH": Override("Metal may approximate functions", ("torch",), ("mps",), ("0", "")),
    "XLA_FLAGS": Override("XLA may compute in another order or precision", ("jax",), ("cpu", "cuda"), ("",)),
}


def overrides_in_force(backend: str, device: str) -> dict[str, str]:
    """Return the variables that are set and can change the results of a backend on a device, with their values."""
    kind = device.partition(":")[0]
    return {
        name: os.environ[name]
        for name, override in OVERRIDES.items()
        if backend in override.backends
        and kind in override.devices
        and os.environ.get(name) not in (None, *override.harmless)
    }


def precision_notices(backend: str, device: str, float32_products: str | None) -> list[str]:
    """Return a sentence for each variable in force, and one if `float32_products` says that they are rounded."""
    notices = [
        f"{name} is set to {value!r}, so {OVERRIDES[name].effect}; unset it to prevent that."
        for name, value in overrides_in_force(backend, device).items()
    ]
    if float32_products not in (None, FULL):
        unaffected = f" {option('dtype', 'float64')} is not affected." if device != "mps" else ""  # mps has no float64
        notices.append(
            f"{backend} on {device} rounds float32 products ({float32_products}): results differ from those of other "
            f"devices.{unaffected}"
        )
    return notices


def product_operand(size: int) -> np.ndarray:
    """Return a matrix (size, size) of float32 numbers in 1..2 that use all bits of their fraction."""
    bits = np.arange(size * size, dtype=np.uint64).reshape(size, size) * 48_271 % 2**23 | 1
    return (1.0 + bits * 2.0**-23).astype(np.float32)


def product_error(operand: np.ndarray, product: np.ndarray) -> float:
    """Return the largest relative error of the product of `operand` and the identity matrix.

    In full precision it is 0, in whatever order the terms are added: all but one of each sum are 0.
    """
    return float(np.max(np.abs(product - operand) / operand))


def precision_name(error: float) -> str:
    """Name the precision of a product by its error: "full", "TF32", or the error itself."""
    if error == 0.0:
        return FULL
    return "TF32" if MIN_TF32_ERROR < error <= MAX_TF32_ERROR else f"relative error {error:.1e}"
