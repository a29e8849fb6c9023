"""An out-of-memory error is recognised by its type and module and gives exit code 5; Lagvis errors keep their code."""

import errno

import pytest

from lagvis.backends.backend import is_out_of_memory, self_test
from lagvis.cli import evaluate
from lagvis.cli.errors import run_cli
from lagvis.errors import CheckpointError, DataError, DeviceError, ExportError, OutOfMemoryError
from tests.fake_backends import ReadOnlyBackend


def raised_by(module, name, base=RuntimeError):
    """Return an error class like that of the library, which is not imported."""
    return type(name, (base,), {"__module__": module})


LIBRARY_ERRORS = [
    MemoryError("Unable to allocate 29.8 GiB for an array with shape (100000, 80000) and data type float32"),
    raised_by("torch", "OutOfMemoryError")("CUDA out of memory. Tried to allocate 37.25 GiB."),
    raised_by("torch", "AcceleratorError")("CUDA error: out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried ..."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("std::bad_alloc"),
    raised_by("jaxlib", "XlaRuntimeError")("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),
    raised_by("jaxlib._jax", "XlaRuntimeError")("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),
    raised_by("jax.errors", "JaxRuntimeError")("RESOURCE_EXHAUSTED: Failed to allocate 8000 bytes"),
    raised_by("cupy.cuda.memory", "OutOfMemoryError", MemoryError)("Out of memory allocating 8,000 bytes"),
    raised_by("cupy_backends.cuda.api.runtime", "CUDARuntimeError")("cudaErrorMemoryAllocation: out of memory"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]

CARD_ERRORS = [
    RuntimeError("cudaErrorNoDevice"),
    raised_by("torch", "AcceleratorError")("CUDA error: invalid device ordinal"),
]
OTHER_ERRORS = [
    *CARD_ERRORS,
    RuntimeError("operands could not be broadcast"),
    RuntimeError(""),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "out of memory.csv"),
    ValueError("could not convert 'out of memory' to a number"),
    KeyError("not enough memory"),
    raised_by("PIL", "UnidentifiedImageError", OSError)("cannot identify image file 'out of memory.png'"),
]


@pytest.mark.parametrize("error", LIBRARY_ERRORS, ids=lambda error: f"{type(error).__name__}-{str(error)[:24]}")
def test_run_cli_library_out_of_memory_returns_5(capsys, error):
    def main(argv):
        raise error

    assert run_cli(main) == 5
    printed = capsys.readouterr().err
    assert printed.startswith("error: out of memory (")
    assert "use a smaller --hidden or --batch-size" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("error", OTHER_ERRORS, ids=lambda error: f"{type(error).__name__}-{str(error)[:24]}")
def test_run_cli_other_error_is_not_out_of_memory(capsys, error):
    def main(argv):
        raise error

    assert not is_out_of_memory(error)
    assert run_cli(main) == (4 if error in CARD_ERRORS else 1)
    assert "use a smaller --hidden" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", [CheckpointError, DataError, ExportError])
@pytest.mark.parametrize("text", ["out of memory", "std::bad_alloc", "RESOURCE_EXHAUSTED"])
def test_run_cli_own_error_keeps_code_and_sentence(capsys, kind, text):
    def main(argv):
        raise kind(f"there is no run {text!r}")

    assert run_cli(main) == kind.exit_code
    assert capsys.readouterr().err == f"error: there is no run {text!r}\n"


def test_evaluate_run_named_out_of_memory_returns_7(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli(evaluate.main, ["out of memory"]) == 7
    assert capsys.readouterr().err.startswith("error: there is no run 'out of memory': ")


def test_run_cli_own_out_of_memory_error_keeps_its_sentence(capsys):
    def main(argv):
        raise OutOfMemoryError("784-64-10 needs 2 GB and 1 GB are free; use a smaller --hidden")

    assert run_cli(main) == 5
    assert capsys.readouterr().err == "error: 784-64-10 needs 2 GB and 1 GB are free; use a smaller --hidden\n"


def test_self_test_device_without_memory_returns_5_and_says_so(capsys):
    class DeviceWithoutMemory(ReadOnlyBackend):
        def asarray(self, host):
            raise MemoryError("Out of memory allocating 8 bytes")

    def main(argv):
        self_test(DeviceWithoutMemory("float32"), "update the driver")

    with pytest.raises(DeviceError):  # makes --device auto choose the CPU
        main([])
    assert run_cli(main) == 5
    assert "has no free memory" in (printed := capsys.readouterr().err)
    assert "update the driver" not in printed


def test_cupy_out_of_memory_error_is_recognised():
    memory = pytest.importorskip("cupy.cuda.memory", reason="CuPy is not installed", exc_type=ImportError)
    assert is_out_of_memory(memory.OutOfMemoryError(8000, 0, 0))
