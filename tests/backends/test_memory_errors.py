"""What each library says when the memory is at an end, as its own class says it, and that it all ends with 5."""

import pytest

from lagvis.backends.backend import is_out_of_memory
from lagvis.cli.errors import run_cli


def raised_by(module, name, base):
    """An error class as the library has it, without the library."""
    return type(name, (base,), {"__module__": module})


SAID = [
    (MemoryError, "Unable to allocate 29.8 GiB for an array with shape (100000, 80000) and data type float32"),
    (raised_by("torch", "OutOfMemoryError", RuntimeError), "CUDA out of memory. Tried to allocate 37.25 GiB."),
    (RuntimeError, "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
    (RuntimeError, "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried ..."),
    (RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    (
        raised_by("jaxlib", "XlaRuntimeError", RuntimeError),
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate",
    ),
    (raised_by("cupy.cuda.memory", "OutOfMemoryError", MemoryError), "Out of memory allocating 8,000 bytes"),
    (raised_by("cupy.cuda.runtime", "CUDARuntimeError", RuntimeError), "cudaErrorMemoryAllocation: out of memory"),
    (OSError, "[Errno 12] Cannot allocate memory"),
    (RuntimeError, "std::bad_alloc"),
]


@pytest.mark.parametrize(("kind", "words"), SAID, ids=[f"{kind.__name__}-{words[:24]}" for kind, words in SAID])
def test_every_library_at_its_end_is_a_sentence_and_5(capsys, kind, words):
    def main(argv):
        raise kind(words)

    assert run_cli(main) == 5
    said = capsys.readouterr().err
    assert said.startswith("error: the memory does not suffice (")
    assert "use smaller --hidden or --batch-size" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", ["cudaErrorNoDevice", "operands could not be broadcast", ""])
def test_anything_else_is_not_called_that(words):
    assert not is_out_of_memory(RuntimeError(words))


def test_cupys_own_error_is_known_by_its_class():
    memory = pytest.importorskip("cupy.cuda.memory", reason="CuPy is not installed", exc_type=ImportError)
    assert is_out_of_memory(memory.OutOfMemoryError(8000, 0, 0))
