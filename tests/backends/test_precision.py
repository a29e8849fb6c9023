"""Full float32 products: settings that win over variables, variables that are reported, and products that are measured.

Variables are read when a library is imported, so what a library says is asked in a process of its own.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lagvis.backends.backend import self_test
from lagvis.backends.precision import overrides_in_force, precision_notices
from lagvis.errors import DeviceError
from tests.conftest import skip_or_fail
from tests.fake_backends import ReadOnlyBackend

VALUES = ("0", "1", "", "garbage")


def rounded(array, bits):
    """Return float32 numbers with `bits` bits of fraction, rounded to the nearest."""
    dropped = 23 - bits
    patterns = np.asarray(array).view(np.uint32).astype(np.uint64)
    kept = (patterns + (1 << (dropped - 1))) >> dropped << dropped
    return kept.astype(np.uint32).view(np.float32)


class RoundingArray(np.ndarray):
    """NumPy array whose products round their operands as a GPU may."""

    bits = 10

    def __matmul__(self, other):
        return (rounded(self, self.bits) @ rounded(other, self.bits)).view(type(self))


class RoundingBackend(ReadOnlyBackend):
    """NumPy backend whose float32 products have operands of `bits` bits."""

    def __init__(self, bits):
        super().__init__("float32")
        self.kind = type("Rounding", (RoundingArray,), {"bits": bits})

    def asarray(self, host):
        return np.array(host).view(self.kind)


@pytest.mark.parametrize(("bits", "expected"), [(10, "TF32"), (7, "relative error 3.9e-03"), (21, "relative error")])
def test_self_test_rounded_products_are_named_and_reported(bits, expected):
    opened = self_test(RoundingBackend(bits), "fix it")
    assert opened.float32_products.startswith(expected)
    (notice,) = precision_notices("cupy", "cuda:0", opened.float32_products)
    assert f"cupy on cuda:0 rounds float32 products ({opened.float32_products})" in notice


@pytest.mark.parametrize(("device", "offers_float64"), [("cuda:0", True), ("mps", False)])
def test_precision_notices_rounded_products_offer_float64_where_there_is_one(device, offers_float64):
    (notice,) = precision_notices("torch", device, "TF32")
    assert ("--dtype float64" in notice) == offers_float64


def test_self_test_cut_off_to_tf32_is_tf32():
    class Cutting(RoundingArray):
        def __matmul__(self, other):
            cut = [(np.asarray(a).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) for a in (self, other)]
            return (cut[0] @ cut[1]).view(type(self))

    backend = RoundingBackend(10)
    backend.kind = Cutting
    assert self_test(backend, "fix it").float32_products == "TF32"


def test_self_test_product_of_few_bits_raises():
    with pytest.raises(DeviceError, match="a product is wrong by"):
        self_test(RoundingBackend(4), "fix it")


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "full"), ("float64", None)])
def test_self_test_full_products(dtype, expected):
    assert self_test(ReadOnlyBackend(dtype), "fix it").float32_products == expected
    assert precision_notices("numpy", "cpu", expected) == []


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("backend", ["cupy", "torch", "jax"])
def test_nvidia_override_is_reported_unless_it_is_0(monkeypatch, backend, value):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
    assert overrides_in_force(backend, "cuda:1") == ({} if value == "0" else {"NVIDIA_TF32_OVERRIDE": value})
    expected = (
        f"NVIDIA_TF32_OVERRIDE is set to {value!r}, so cuBLAS may round float32 products to TF32; "
        "unset it to prevent that."
    )
    assert precision_notices(backend, "cuda:1", "full") == ([] if value == "0" else [expected])
    assert precision_notices(backend, "cpu", "full") == []


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ["CUPY_TF32", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "JAX_DEFAULT_MATMUL_PRECISION"])
def test_variables_without_effect_are_not_reported(monkeypatch, name, value):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setenv(name, value)
    for backend in ("cupy", "torch", "jax"):
        assert precision_notices(backend, "cuda:0", "full") == []


@pytest.mark.parametrize(
    ("name", "value", "places"),
    [
        ("CUBLAS_WORKSPACE_CONFIG", ":16:8", {"cupy cuda:0", "torch cuda:0", "jax cuda:0"}),
        ("CUBLAS_EMULATE_SINGLE_PRECISION", "1", {"cupy cuda:0", "torch cuda:0", "jax cuda:0"}),
        ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16", {"torch cpu", "torch xpu:0", "jax cpu"}),
        ("ONEDNN_DEFAULT_FPMATH_MODE", "STRICT", set()),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", {"jax cpu", "jax cuda:0"}),
        ("PYTORCH_MPS_FAST_MATH", "1", {"torch mps"}),
        ("PYTORCH_MPS_FAST_MATH", "0", set()),
    ],
)
def test_overrides_are_those_that_the_library_reads_on_the_device(monkeypatch, name, value, places):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setenv(name, value)
    pairs = [("numpy", "cpu"), ("cupy", "cuda:0"), ("jax", "cpu"), ("jax", "cuda:0")]
    pairs += [("torch", device) for device in ("cpu", "cuda:0", "xpu:0", "mps")]
    assert {f"{backend} {device}" for backend, device in pairs if overrides_in_force(backend, device)} == places


def answer_of(program, **variables):
    """Return what a program prints as JSON, in a process with these variables, and its stderr."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | variables
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout), ran.stderr


TORCH_PROGRAM = """
import json
import torch
from lagvis.backends import torch_backend
before = torch.get_float32_matmul_precision()
torch_backend.find_devices = lambda: ["cuda:0", "cpu"]
torch_backend.torch_device = lambda name: torch.device("cpu")
opened = torch_backend.open_backend("cuda:0", "float32", True)
after = [torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32]
after.append(getattr(torch.backends.cuda.matmul, "fp32_precision", "ieee"))
print(json.dumps([before, after, opened.float32_products]))
"""


@pytest.mark.parametrize("value", VALUES)
def test_torch_is_in_full_precision_whatever_the_variable_says(torch, value):
    answer, _ = answer_of(TORCH_PROGRAM, TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=value)
    before = "high" if value == "1" else "highest"
    assert answer == [before, ["highest", False, "ieee"], "full"]


@pytest.mark.parametrize(
    "setting",
    [
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    ],
)
def test_torch_is_in_full_precision_after_another_setting(torch, setting):
    if "fp32_precision" in setting and not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this PyTorch has no fp32_precision")
    program = TORCH_PROGRAM.replace("before = torch.get_float32_matmul_precision()", f"{setting}; before = None")
    assert answer_of(program)[0] == [None, ["highest", False, "ieee"], "full"]


JAX_PROGRAM = """
import json
import jax
import numpy as np
from lagvis.backends.registry import select
opened = select("cpu", "jax")
run = opened.scan(lambda state, rows: {"a": state["a"] @ rows})
numbers = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)
arguments = {"a": opened.asarray(numbers[0])}, (opened.asarray(numbers[1:]),)
jaxpr = str(jax.make_jaxpr(run)(*arguments, ()))
product = opened.to_numpy(run(*arguments, ())["a"])
print(json.dumps(["Precision.HIGHEST" in jaxpr, product.tolist()]))
"""


@pytest.fixture(scope="module")
def jax_answer():
    """Return what JAX_PROGRAM prints without the variable."""
    try:
        import jax  # noqa: F401
    except ImportError as error:
        skip_or_fail("jax", f"JAX is not installed: {error}")
    return answer_of(JAX_PROGRAM)[0]


@pytest.mark.parametrize("value", ["bfloat16", "tensorfloat32", "BF16_BF16_F32"])
def test_jax_products_are_highest_whatever_the_variable_says(jax_answer, value):
    assert jax_answer[0] is True
    assert answer_of(JAX_PROGRAM, JAX_DEFAULT_MATMUL_PRECISION=value)[0] == jax_answer


@pytest.mark.parametrize("value", ["", "garbage"])
def test_jax_refuses_its_variable_with_a_sentence(jax_answer, tmp_path, value):
    command = [sys.executable, "train.py", "--backend", "jax", "--device", "cpu", "-e", "0", "-o", str(tmp_path)]
    environment = os.environ | {"JAX_DEFAULT_MATMUL_PRECISION": value}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 4
    assert "JAX cannot be imported" in ran.stderr
    assert "unset or correct JAX_DEFAULT_MATMUL_PRECISION" in ran.stderr
    assert "Traceback" not in ran.stderr


CUPY_PROGRAM = """
import json
import cupy
from cupy._core import get_compute_type
from cupy._core._routines_linalg import compute_type_to_str
from lagvis.backends.cupy_backend import set_full_precision
set_full_precision(cupy)
print(json.dumps(compute_type_to_str(get_compute_type("float32"))))
"""


@pytest.mark.parametrize("value", VALUES)
def test_cupy_is_in_full_precision_whatever_the_variable_says(value):
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        skip_or_fail("cupy-signatures", f"CuPy is not installed: {error}")
    assert answer_of(CUPY_PROGRAM, CUPY_TF32=value)[0] == "COMPUTE_TYPE_FP32"
