"""Recorder for PyTorch: the functions of torch that write into given memory."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import torch

from lagvis.backends.host_memory import ALIGNMENT
from lagvis.backends.replay.recorder import ELEMENTWISE, Node, Recorder

# Functions of the standard whose name in torch differs, and those beside the elementwise ones that take out=.
NAMES = {"bitwise_invert": "bitwise_not", "equal": "eq", "not_equal": "ne", "max": "amax", "min": "amin"}
WITH_OUT = ELEMENTWISE | {"argmax", "matmul", "max", "mean", "min", "sum"}


def numbers_as_tensors(arguments: list[Any]) -> list[Any]:
    """Turn Python numbers beside tensors of one dtype into tensors, which PyTorch would do again in every call."""
    kinds = {a.dtype for a in arguments if isinstance(a, torch.Tensor)}
    if len(kinds) != 1:
        return arguments
    (kind,) = kinds
    # a float beside integers makes floats of them
    numbers = (int, float) if kind.is_floating_point else () if kind == torch.bool else (int,)
    return [torch.tensor(a, dtype=kind) if type(a) in numbers else a for a in arguments]


class TorchRecorder(Recorder):
    """Recorder for PyTorch."""

    part_alignment: ClassVar[int] = ALIGNMENT

    def strides(self, array: torch.Tensor) -> tuple[int, ...]:
        return array.stride()

    def copy(self, array: torch.Tensor) -> torch.Tensor:
        return array.clone()

    def share_memory(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()

    def copy_into(self, to: torch.Tensor) -> Callable[[torch.Tensor], Any]:
        return to.copy_

    def call_into(
        self, out: torch.Tensor, call: Node, arguments: list[Any], options: dict[str, Any]
    ) -> Callable[[], Any]:
        if call.name == "astype":
            return self.copy_call(out, arguments[0])
        if call.name == "take":
            array, indices = arguments
            return partial(torch.index_select, array, options["axis"], indices, out=out)
        if call.name == "concat" and options.get("axis", 0) is not None:  # None: of flattened arrays
            return partial(torch.cat, arguments[0], dim=options.get("axis", 0), out=out)
        if call.name == "vecdot":
            first, second = arguments
            return partial(torch.linalg.vecdot, first, second, dim=options.get("axis", -1), out=out)
        if call.name in WITH_OUT:
            if call.name in ELEMENTWISE:
                arguments = numbers_as_tensors(arguments)
            call_out = partial(getattr(torch, NAMES.get(call.name, call.name)), *arguments, **options, out=out)
            with suppress(TypeError):  # some forms of these functions take no out=: a sum over all axes
                call_out()
                return call_out
        return super().call_into(out, call, arguments, options)
