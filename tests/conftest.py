"""Fixtures. `backend` runs a test on every array library that is installed, in float64.

LAGVIS_REQUIRE=numpy,strict,torch,jax turns the skip of a missing backend into a failure. It also
takes cupy-signatures for the tests that only read the signatures of CuPy, browser for the page, onnx for the export
to ONNX, notebook for the notebook, and tensorboard and mlflow for the trackers.
"""

import importlib.util
import os
import signal
from collections.abc import Callable

import hypothesis
import pytest

from lagvis.backends.backend import Backend
from lagvis.backends.registry import select
from lagvis.errors import DeviceError
from tests import fake_backends

USUAL_HANDLERS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported, without doing so."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


# The machine of a GPU may lack polars, with which the fuzzer makes its tables.
collect_ignore = [] if is_installed("polars") else ["test_fuzz_smoke.py"]


def reset_ignored_signals() -> None:
    """Restore the default handlers of SIGINT, SIGTERM and SIGHUP if they are ignored.

    A background job of a shell ignores SIGINT, and nohup SIGHUP; the processes that a test starts and signals would
    inherit this.
    """
    for number, usual in USUAL_HANDLERS.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


reset_ignored_signals()

# No deadline: pytest's timeout catches hangs, and a slow machine must not fail a test.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

REQUIRED = {name.strip() for name in os.environ.get("LAGVIS_REQUIRE", "").split(",") if name.strip()}


def open_jax(dtype: str, device: str, *, compiled: bool = True) -> Backend:
    """Open JAX; for float64 with 64-bit types in the whole process, since tests call functions outside of `scan`."""
    opened = select(device, "jax", dtype, compiled)
    if dtype == "float64":
        import jax

        jax.config.update("jax_enable_x64", True)
    return opened


# id of the backend in tests: (name in LAGVIS_REQUIRE, function that opens it in a dtype)
OPENERS: dict[str, tuple[str, Callable[[str], Backend]]] = {
    "numpy": ("numpy", lambda dtype: select("cpu", "numpy", dtype)),
    "numpy-readonly": ("numpy", fake_backends.ReadOnlyBackend),
    "numpy-spoiling": ("numpy", fake_backends.SpoilingBackend),
    "strict": ("strict", lambda dtype: fake_backends.open_strict(dtype, "cpu")),
    "strict-device1": ("strict", lambda dtype: fake_backends.open_strict(dtype, "device1")),
    "dpnp": ("dpnp", fake_backends.open_dpnp),
    "torch": ("torch", lambda dtype: select("cpu", "torch", dtype)),
    "jax": ("jax", lambda dtype: open_jax(dtype, "cpu")),
    "jax-uncompiled": ("jax", lambda dtype: open_jax(dtype, "cpu", compiled=False)),
    "torch-cuda": ("torch-cuda", lambda dtype: select("cuda", "torch", dtype)),
    "jax-cuda": ("jax-cuda", lambda dtype: open_jax(dtype, "cuda")),
    "cupy": ("cupy", lambda dtype: select("cuda", "cupy", dtype)),
}

# id: markers of the tests that get it as a parameter
MARKS = {
    "jax-uncompiled": [pytest.mark.slow],
    **{name: [pytest.mark.gpu(name)] for name in ("cupy", "torch-cuda", "jax-cuda")},
}
# JAX without compilation compiles each operation alone, for each shape: minutes if every test did so. It calls the same
# functions as compiled JAX, so it runs the tests of the backend interface and two of whole trainings.
UNCOMPILED = pytest.param("jax-uncompiled", marks=MARKS["jax-uncompiled"])
PARAMS = [pytest.param(name, marks=MARKS.get(name, ())) for name in OPENERS if name != "jax-uncompiled"]
GPU_PARAMS = [pytest.param(name, marks=MARKS[name]) for name in ("cupy", "torch-cuda", "jax-cuda")]

KNOWN = {name for name, _ in OPENERS.values()} | {
    "cupy-signatures",
    "browser",
    "onnx",
    "notebook",
    "tensorboard",
    "mlflow",
}
if REQUIRED - KNOWN:
    raise pytest.UsageError(f"LAGVIS_REQUIRE names {sorted(REQUIRED - KNOWN)}; expected names among {sorted(KNOWN)}")


def pytest_addoption(parser, pluginmanager):
    """Accept the setting `timeout` of pyproject.toml where pytest-timeout, which reads it, is not installed."""
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "seconds after which a test fails (needs pytest-timeout)")


def pytest_configure(config):
    """Declare the marker `timeout` where pytest-timeout is not installed."""
    if not config.pluginmanager.hasplugin("timeout"):
        config.addinivalue_line("markers", "timeout(seconds): limit of one test (needs pytest-timeout)")


def skip_or_fail(name: str, reason: str) -> None:
    """Skip the test, or fail it if LAGVIS_REQUIRE contains the name."""
    if name in REQUIRED:
        pytest.fail(f"LAGVIS_REQUIRE names {name}, which cannot run: {reason}")
    pytest.skip(reason)


def open_backend(name: str, dtype: str) -> Backend:
    """Open the backend of a test id; skip or fail the test if the backend is unavailable."""
    required, opener = OPENERS[name]
    try:
        return opener(dtype)
    except DeviceError as error:
        skip_or_fail(required, error.reason)
        raise


@pytest.fixture(params=PARAMS)
def backend(request):
    """Each backend in turn, in float64."""
    return open_backend(request.param, "float64")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Each dtype in turn."""
    return request.param


@pytest.fixture(params=PARAMS)
def backend_of(request):
    """Each backend in turn, as a function: `backend_of(dtype)` opens it."""
    return lambda dtype: open_backend(request.param, dtype)


@pytest.fixture
def torch():
    """Return PyTorch, the reference implementation."""
    try:
        import torch
    except ImportError as error:
        skip_or_fail("torch", f"PyTorch is the oracle of this test: {error}")
    return torch


@pytest.fixture(scope="session")
def onnxruntime():
    """Return onnxruntime, the reference for exports; the onnx package is required, too."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        skip_or_fail("onnx", f"the export is made by onnx and checked by onnxruntime: {error}")
    return onnxruntime


@pytest.fixture(scope="session")
def event_accumulator():
    """Return the module of TensorBoard that reads event files."""
    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError as error:
        skip_or_fail("tensorboard", f"TensorBoard reads what was logged: {error}")
    return event_accumulator


@pytest.fixture(scope="session")
def mlflow():
    """Return MLflow, whose client reads what was logged."""
    try:
        import mlflow
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        skip_or_fail("mlflow", f"MLflow reads what was logged: {error}")
    return mlflow
