"""One fixture, `backend`, runs a mathematical test on every array library that is there, in float64.

LAGVIS_REQUIRE=numpy,strict,torch,jax turns the skip of a missing backend into a failure. It takes the names below,
cupy-signatures for the tests that read CuPy and compute nothing, browser for the page, and onnx for that export.
"""

import os
import signal
from collections.abc import Callable

import hypothesis
import pytest

from lagvis.backends.backend import Backend
from lagvis.backends.registry import select
from lagvis.errors import DeviceError
from tests import fake_backends

# A shell's background ignores Ctrl-C, others SIGTERM, and hand that on to what a test would strike with it.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# Pytest's own timeout tells what hangs; a busy machine is no reason to fail.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

REQUIRED = {name.strip() for name in os.environ.get("LAGVIS_REQUIRE", "").split(",") if name.strip()}

# name of the backend in the test's id: (name in LAGVIS_REQUIRE, how to open it in a dtype)
OPENERS: dict[str, tuple[str, Callable[[str], Backend]]] = {
    "numpy": ("numpy", lambda dtype: select("cpu", "numpy", dtype)),
    "numpy-readonly": ("numpy", fake_backends.ReadOnlyBackend),
    "numpy-spoiling": ("numpy", fake_backends.SpoilingBackend),
    "strict": ("strict", lambda dtype: fake_backends.open_strict(dtype, "cpu")),
    "strict-device1": ("strict", lambda dtype: fake_backends.open_strict(dtype, "device1")),
    "dpnp": ("dpnp", fake_backends.open_dpnp),
    "torch": ("torch", lambda dtype: select("cpu", "torch", dtype)),
    "jax": ("jax", lambda dtype: select("cpu", "jax", dtype)),
    "jax-uncompiled": ("jax", lambda dtype: select("cpu", "jax", dtype, compiled=False)),
    "torch-cuda": ("torch-cuda", lambda dtype: select("cuda", "torch", dtype)),
    "jax-cuda": ("jax-cuda", lambda dtype: select("cuda", "jax", dtype)),
    "cupy": ("cupy", lambda dtype: select("cuda", "cupy", dtype)),
}


KNOWN = {name for name, _ in OPENERS.values()} | {"cupy-signatures", "browser", "onnx"}
if REQUIRED - KNOWN:
    raise pytest.UsageError(f"LAGVIS_REQUIRE names {REQUIRED - KNOWN}, which no test knows; known are {sorted(KNOWN)}")


def skip_or_fail(name: str, reason: str) -> None:
    """Skip the test, or fail it where LAGVIS_REQUIRE names what is missing."""
    if name in REQUIRED:
        pytest.fail(f"LAGVIS_REQUIRE names {name}, which cannot run: {reason}")
    pytest.skip(reason)


def open_backend(name: str, dtype: str) -> Backend:
    """The backend of a test id, in a dtype."""
    required, opener = OPENERS[name]
    try:
        return opener(dtype)
    except DeviceError as error:
        skip_or_fail(required, error.reason)
        raise


@pytest.fixture(params=list(OPENERS))
def backend(request):
    """Every backend in turn, in float64."""
    return open_backend(request.param, "float64")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both element types in turn."""
    return request.param


@pytest.fixture(params=list(OPENERS))
def backend_of(request):
    """Every backend in turn, opened by the test: `backend_of(dtype)`."""
    return lambda dtype: open_backend(request.param, dtype)


@pytest.fixture
def torch():
    """PyTorch as an oracle."""
    try:
        import torch
    except ImportError as error:
        skip_or_fail("torch", f"PyTorch is the oracle of this test: {error}")
    return torch


@pytest.fixture(scope="session")
def onnxruntime():
    """What exports to ONNX are held against, with what makes them."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        skip_or_fail("onnx", f"ONNX is made by onnx and read by onnxruntime: {error}")
    return onnxruntime
