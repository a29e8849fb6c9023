"""Arrays of any library to NumPy on the host, and results back into the library and onto the device they came from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lagvis.errors import DataError


def to_numpy(values: Any, name: str) -> np.ndarray:
    """Return an array of any library, or nested lists of numbers or text, as a NumPy array on the host.

    `name` is what the caller calls the values, for the DataError where they are none: a sparse matrix, or rows of
    different lengths.
    """
    import array_api_compat

    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError(f"{name} has masked values; fill or remove them (filled, compressed)")
    if isinstance(values, np.ndarray):
        array = np.asarray(values)
    elif array_api_compat.is_array_api_obj(values):
        if array_api_compat.is_torch_array(values):
            values = plain_tensor(values, name)
        if array_api_compat.is_torch_array(values) or array_api_compat.is_cupy_array(values):
            values = array_api_compat.to_device(values, "cpu")
        array = np.asarray(values) if hasattr(values, "__array__") else np.from_dlpack(values)
    elif isinstance(values, Sequence) and not isinstance(values, str | bytes):
        try:
            array = np.asarray(values)
        except ValueError:
            raise DataError(f"{name} has rows of different lengths; expected an array of numbers") from None
    else:
        array = np.asarray(values) if hasattr(values, "__array__") else np.asarray(None)
    if array.dtype.kind == "T":  # text of any length, of NumPy 2
        array = array.astype(object)
    return plain(array, values, name) if array.dtype.kind == "O" else array


def plain_tensor(tensor: Any, name: str) -> Any:
    """Return a tensor of PyTorch as one that becomes a NumPy array; DataError for one without values of its own."""
    if str(tensor.layout) != "torch.strided":
        raise DataError(f"{name} is a sparse tensor; give its to_dense()")
    if tensor.device.type == "meta":
        raise DataError(f"{name} is a tensor of the device 'meta', which has no values; expected an array of numbers")
    tensor = tensor.detach().resolve_conj().resolve_neg()  # it may be part of a graph of gradients
    return tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor  # which NumPy has not


def plain(array: np.ndarray, values: Any, name: str) -> np.ndarray:
    """Return an array of objects as one of text or of numbers; DataError where it holds anything else."""
    if array.ndim:
        items = array.reshape(-1).tolist()
        if all(isinstance(item, str) for item in items):
            return array.astype(np.str_)
        if all(isinstance(item, bool | np.bool_) for item in items):
            return array.astype(np.bool_)
        if all(isinstance(item, int | float | np.number | np.bool_) for item in items):
            whole = all(isinstance(item, int | np.integer) for item in items)
            try:
                return array.astype(np.int64 if whole else np.float64)
            except OverflowError:
                return array.astype(np.float64)
        kinds = sorted({type(item).__name__ for item in items})
        raise DataError(f"{name} holds {' and '.join(kinds[:4])}; expected numbers alone, or text alone")
    hint = "; give its toarray()" if hasattr(values, "toarray") else ""
    raise DataError(f"{name} is of the type {type(values).__name__}; expected an array{hint}")


def like(result: np.ndarray, values: Any, *, exact: bool = False) -> Any:
    """Return a result in the library and on the device of the array `values`; text, and for lists, as NumPy has it.

    Real numbers come in the dtype of `values` if it is a real one of 32 bits or more, else in the default of its
    library, or in float32 for a real one of fewer bits, which would not hold targets beyond 65504. With `exact`, as for
    classes, they come as they are where the library has their dtype.
    """
    import array_api_compat

    if isinstance(values, np.ndarray) or not array_api_compat.is_array_api_obj(values):
        if result.dtype.kind == "f" and isinstance(values, np.ndarray) and values.dtype.kind == "f" and not exact:
            return result.astype(np.promote_types(values.dtype, np.float32))
        return result
    if result.dtype.kind not in "biuf":
        return result
    xp, device = array_api_compat.array_namespace(values), array_api_compat.device(values)
    dtype = None
    if result.dtype.kind == "f":
        dtype = values.dtype if xp.isdtype(values.dtype, "real floating") else xp.asarray(0.0).dtype
        if exact and result.dtype == np.float64:
            dtype = xp.float64
        elif "16" in str(dtype):
            dtype = xp.float32
        result = result.astype(np.float32 if "32" in str(dtype) else np.float64)
    return xp.asarray(result, dtype=dtype, device=device)
