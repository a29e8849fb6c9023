"""Name options in messages as the user gives them: as flags of a command, or as arguments in Python.

A message is made where the fault is found, far from the command or the function that was called. So the functions of
the library say once that they were called from Python (`messages_for_python`), for the current thread.

>>> option("label", "net price"), option("drop", ["id", "name"]), setting("batch_size")
("--label 'net price'", '--drop id,name', '--batch-size')
>>> with messages_for_python():
...     print(option("label", "net price"), option("drop", ["id", "name"]), setting("batch_size"))
label="net price" drop=["id", "name"] batch_size
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Event = TypeVar("Event")
_for_python: ContextVar[bool] = ContextVar("for_python", default=False)
# The loss that is used for each kind of targets, unless another one is named.
DEFAULT_LOSSES = {"classes": "cross-entropy", "numbers": "mse", "labels": "binary-cross-entropy"}
NONE = "none"  # the list without entries on the command line, as --hidden none
LISTS = {"features", "drop", "category", "number", "log", "id"}  # options that take several columns

Value = str | float | Sequence[str] | None


@contextmanager
def messages_for_python() -> Iterator[None]:
    """Let messages name arguments of Python within a block, or, as a decorator, within a function."""
    token = _for_python.set(True)
    try:
        yield
    finally:
        _for_python.reset(token)


def python_events(events: Iterator[Event]) -> Iterator[Event]:
    """Yield the items of an iterator, each made with messages for Python; between them messages are the caller's."""
    while True:
        with messages_for_python():
            try:
                event = next(events)
            except StopIteration:
                return
        yield event


def option(name: str, value: Value = None) -> str:
    """Return how an option is given: --label, or label=...; with a value, as a shell or as Python takes it."""
    if value is None:
        return f"{name}=..." if _for_python.get() else setting(name)
    if _for_python.get():
        value = [value] if name in LISTS and isinstance(value, str) else value
        return f"{name}={json.dumps(value, ensure_ascii=False)}"
    if isinstance(value, float):
        text = f"{value:g}"
    elif isinstance(value, str | int):
        text = str(value)
    else:
        text = ",".join(value) or NONE
    return f"{setting(name)}{'=' if text.startswith('-') else ' '}{shlex.quote(text)}"


def setting(name: str) -> str:
    """Return the name of an option: --batch-size, or batch_size."""
    return name if _for_python.get() else f"--{name.replace('_', '-')}"


def join_options(*options: str) -> str:
    """Join options that are given together, leaving out empty ones."""
    return (", " if _for_python.get() else " ").join(filter(None, options))


def targets_option(targets: str) -> str:
    """Return how "classes", "numbers" or "labels" are predicted: --loss mse, or targets="numbers"."""
    return f'targets="{targets}"' if _for_python.get() else f"--loss {DEFAULT_LOSSES[targets]}"


def data_option(path: object = None) -> str:
    """Return how data are named, by their path if it is given: --data t.csv, or load_dataset("t.csv")."""
    if _for_python.get():
        return "load_dataset" if path is None else f"load_dataset({json.dumps(str(path), ensure_ascii=False)})"
    return "--data" if path is None else f"--data {path}"


def predict_command(path: object = None) -> str:
    """Return what predicts rows without labels: predict.py, or the method predict; with a path, the whole command."""
    if _for_python.get():
        return "model.predict"
    return "predict.py" if path is None else f"python predict.py RUN {shlex.quote(str(path))}"


def no_range_check() -> str:
    """Return what takes values as they are, on whatever scale."""
    return "check_ranges=False" if _for_python.get() else "--no-range-check"
