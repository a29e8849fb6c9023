import ast
import doctest
import re
import threading
from pathlib import Path

import pytest

from lagvis import option_text
from lagvis.option_text import (
    data_option,
    join_options,
    messages_for_python,
    no_range_check,
    option,
    predict_command,
    setting,
    targets_option,
)

ROOT = Path(__file__).resolve().parent.parent
# Modules whose messages name an option that only a command has: --centre, --onnx-inputs, --resume, or that of another
# program, or a spelling of one.
OF_COMMANDS = {
    "backends/cuda_faults.py",
    "backends/cupy_backend.py",
    "data/images/prepare.py",
    "data/range_check.py",
    "formats/onnx_model.py",
    "formats/prediction_file.py",
    "training/outcome.py",
    "training/recipe_checks.py",
    "training/recipe_keys.py",
}


def test_option_text_examples_of_the_module_hold():
    assert doctest.testmod(option_text).failed == 0


@pytest.mark.parametrize(
    ("text", "of_command", "of_python"),
    [
        (lambda: option("label"), "--label", "label=..."),
        (lambda: option("label", "-x"), "--label=-x", 'label="-x"'),
        (lambda: option("label", 'a "b"'), "--label 'a \"b\"'", 'label="a \\"b\\""'),
        (lambda: option("category", "net é"), "--category 'net é'", 'category=["net é"]'),
        (lambda: option("lr", 1e-5), "--lr 1e-05", "lr=1e-05"),
        (lambda: option("epochs", 1000000), "--epochs 1000000", "epochs=1000000"),
        (lambda: option("hidden", []), "--hidden none", "hidden=[]"),
        (lambda: setting("batch_size"), "--batch-size", "batch_size"),
        (lambda: targets_option("numbers"), "--loss mse", 'targets="numbers"'),
        (lambda: join_options("", option("label", "a"), targets_option("labels")),
         "--label a --loss binary-cross-entropy", 'label="a", targets="labels"'),
        (lambda: data_option("t.csv"), "--data t.csv", 'load_dataset("t.csv")'),
        (data_option, "--data", "load_dataset"),
        (predict_command, "predict.py", "model.predict"),
        (no_range_check, "--no-range-check", "check_ranges=False"),
    ],
)  # fmt: skip
def test_option_text_is_that_of_the_command_line_or_of_python(text, of_command, of_python):
    assert text() == of_command
    with messages_for_python():
        assert text() == of_python
    assert text() == of_command


def test_messages_for_python_other_thread_is_not_affected():
    found = []
    with messages_for_python():
        thread = threading.Thread(target=lambda: found.append(option("label")))
        thread.start()
        thread.join()
    assert found == ["--label"]


def literal_flags(path):
    """Return the texts of a module, other than docstrings, in which an option of the command line is written out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {id(node): node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            texts.pop(id(node.value), None)
    return [text for text in texts.values() if isinstance(text, str) and re.search("--[a-z]", text)]


def test_messages_that_the_library_raises_write_no_flag_out():
    packages = ("api", "backends", "data", "formats", "inference", "network", "training")
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert {path.relative_to(ROOT).as_posix() for path in modules if literal_flags(path)} == OF_COMMANDS
