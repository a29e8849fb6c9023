import json
import math
import os
import pickle
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from lagvis.data.scaling import Scaling
from lagvis.errors import CheckpointError
from lagvis.storage.checkpoint_file import (
    best_of_format_2,
    checkpoint_digest,
    checkpoint_from_bytes,
    read_checkpoint,
    write_checkpoint,
)
from lagvis.training.checkpoint import Checkpoint, checkpoint_bytes
from lagvis.training.model import Model
from lagvis.tree import named_leaves
from tests.factories import classes, epochs, last, numbers, quick, run

RUNS = {
    "classes": (quick(momentum=0.9), classes),
    "numbers": (quick(loss="mse", momentum=0.5, activation="tanh"), numbers),
    "no hidden layer": (quick(hidden=()), classes),
    "robust": (quick(loss="mse", number_scaling="robust"), numbers),
    "constant column": (quick(loss="mse"), lambda: with_constant_column(numbers())),
    "centred": (quick(pixel_scaling="centred"), classes),
    "float64": (quick(dtype="float64", loss="mse"), numbers),
    "eleven layers": (quick(hidden=(3,) * 10, epochs=1), classes),
}


def with_constant_column(dataset):
    for x in (dataset.x_train, dataset.x_test):
        x[:, 1] = 0.1
    return dataset


def trained(name: str = "numbers") -> Checkpoint:
    recipe, dataset = RUNS[name]
    events = run(recipe, dataset())
    finished = last(events)
    return finished.checkpoint


@pytest.fixture
def path(tmp_path):
    return tmp_path / "last.safetensors"


@pytest.fixture
def parts(path):
    """Return the arrays and the header of a valid checkpoint."""
    write_checkpoint(path, trained())
    return parts_of(path)


def parts_of(path: Path):
    """Return the arrays and the header of a checkpoint."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is no dict)
        meaning = json.loads(file.metadata()["lagvis"])
    return arrays, meaning


def compose(path: Path, arrays, meaning) -> None:
    """Write a checkpoint file of any content with the right digest."""
    meaning = {key: value for key, value in meaning.items() if key != "digest"}
    meaning["digest"] = checkpoint_digest(meaning, arrays)
    path.write_bytes(save(arrays, metadata={"lagvis": json.dumps(meaning)}))


def raw(header: bytes, payload: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + payload


def refusal(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.exit_code == 7
    assert str(path) in str(caught.value)
    return str(caught.value)


def scaling_bytes(scaling: Scaling | None):
    return scaling and (
        scaling.mean.tobytes(),
        scaling.deviation.tobytes(),
        scaling.mean.dtype,
        scaling.deviation.dtype,
    )


@pytest.mark.parametrize("name", RUNS)
def test_read_checkpoint_returns_every_array_and_field_bit_for_bit(path, name):
    written = trained(name)
    write_checkpoint(path, written)
    found = read_checkpoint(path)
    before, after = dict(named_leaves(written.state)), dict(named_leaves(found.state))
    assert set(before) == set(after)
    for leaf, array in before.items():
        assert after[leaf].tobytes() == array.tobytes()
        assert (after[leaf].dtype, after[leaf].shape) == (array.dtype, array.shape)
    assert (found.epoch, found.step) == (written.epoch, written.step)
    scalings = ("x_scaling", "y_scaling")
    plain = [vars(model) | dict.fromkeys((*scalings, "ranges")) for model in (written.model, found.model)]
    assert plain[0] == plain[1]
    before, after = vars(written.model.ranges), vars(found.model.ranges)
    assert before.keys() == after.keys()
    for field in before:
        np.testing.assert_array_equal(after[field], before[field], strict=True, err_msg=field)
    for scaling in scalings:
        assert scaling_bytes(getattr(found.model, scaling)) == scaling_bytes(getattr(written.model, scaling))


@pytest.mark.parametrize("name", ["classes", "numbers", "centred"])
def test_checkpoint_from_bytes_equals_that_of_the_file(path, name):
    write_checkpoint(path, trained(name))
    content = path.read_bytes()
    assert checkpoint_bytes(checkpoint_from_bytes(content, "memory")) == content


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, save({"a": np.zeros(3)})])
def test_checkpoint_from_other_bytes_raises_with_name(content):
    with pytest.raises(CheckpointError, match="memory"):
        checkpoint_from_bytes(content, "memory")


def test_checkpoint_from_bytes_flipped_bit_raises(path):
    write_checkpoint(path, trained())
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 97):
        content[at] ^= 4
        with pytest.raises(CheckpointError, match="memory"):
            checkpoint_from_bytes(bytes(content), "memory")
        content[at] ^= 4


def test_read_checkpoint_of_earlier_version_has_no_ranges(path, parts):
    arrays, meaning = parts
    for name in ("ranges.low", "ranges.high"):
        del arrays[name]
    for name in ("feature_kind", "training_rows", "picture_range"):
        del meaning[name]
    compose(path, arrays, meaning)
    assert read_checkpoint(path).model.ranges is None


def test_read_checkpoint_returns_class_names_and_shape(path):
    model = Model(
        (6, 2),
        "relu",
        "cross-entropy",
        (2, 3),
        ("1", 'æ, "ø"\n'),
        (),
        "",
        None,
        None,
        tuple("abcabc"),
        ("art",),
        background=255,
        pixel_mean=1 / 3,
    )
    params = [{"W": np.ones((6, 2), np.float32), "b": np.zeros(2, np.float32)}]
    write_checkpoint(path, Checkpoint(model, {"params": params}, 3, 99))
    assert read_checkpoint(path).model == model


def test_write_checkpoint_non_contiguous_arrays_keep_values(path):
    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    params = [{"W": np.asfortranarray(matrix), "b": np.arange(6, dtype=np.float32)[::2]}]
    model = Model((4, 3), "relu", "cross-entropy", (4,), ("a", "b", "c"), (), "", None, None)
    write_checkpoint(path, Checkpoint(model, {"params": params}, 1, 1))
    layer = read_checkpoint(path).state["params"][0]
    assert layer["W"].tolist() == matrix.tolist()
    assert layer["b"].tolist() == [0, 2, 4]


def test_write_checkpoint_equal_runs_equal_files(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    a, b = tmp_path / "last.safetensors", tmp_path / "elsewhere" / "other.safetensors"
    write_checkpoint(a, trained())
    write_checkpoint(b, trained())
    os.utime(a, (0, 0))
    assert a.read_bytes() == b.read_bytes()


def test_checkpoint_read_and_written_again_same_bytes(tmp_path, path):
    write_checkpoint(path, trained())
    again = tmp_path / "again.safetensors"
    write_checkpoint(again, read_checkpoint(path))
    assert again.read_bytes() == path.read_bytes()


def test_write_checkpoint_leaves_no_other_file(path):
    write_checkpoint(path, trained())
    write_checkpoint(path, trained("classes"))
    assert [file.name for file in path.parent.iterdir()] == ["last.safetensors"]
    assert read_checkpoint(path).model.loss == "cross-entropy"


# --- failing writes


def fail(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("fault", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
def test_write_checkpoint_failing_keeps_the_old_file(path, monkeypatch, fault):
    write_checkpoint(path, trained())
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(fault, fail)
        with pytest.raises(CheckpointError, match="No space left on device") as caught:
            write_checkpoint(path, trained("classes"))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    # the next write succeeds
    write_checkpoint(path, trained("classes"))
    assert read_checkpoint(path).model.loss == "cross-entropy"


def test_write_checkpoint_missing_folder_raises_checkpoint_error(tmp_path):
    path = tmp_path / "gone" / "last.safetensors"
    with pytest.raises(CheckpointError, match=r"cannot be written \(its folder does not exist\)$") as caught:
        write_checkpoint(path, trained())
    assert str(path) in str(caught.value)


def test_write_checkpoint_dead_disk_raises_checkpoint_error(path, monkeypatch):
    """The error reports the first failure, even if later operations fail as well."""
    checkpoint = trained()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        patch.setattr("os.stat", fail)
        with pytest.raises(CheckpointError) as caught:
            write_checkpoint(path, checkpoint)
    assert str(caught.value) == f"{path} cannot be written (No space left on device)"


def test_write_checkpoint_first_failing_mentions_no_older_one(path, monkeypatch):
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CheckpointError, match=r"\(No space left on device\)$"):
        write_checkpoint(path, trained())
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"; the older checkpoint is unchanged$"):
        write_checkpoint(path, trained())


def test_write_checkpoint_flushes_before_rename(path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr("os.fsync", lambda handle: calls.append("fsync") or fsync(handle))
    monkeypatch.setattr("pathlib.Path.replace", lambda self, to: calls.append("replace") or replace(self, to))
    write_checkpoint(path, trained())
    assert calls[:2] == ["fsync", "replace"]


# --- reading broken files


class FailsWhenUnpickled:
    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


def foreign(dtype: str, size: int) -> bytes:
    header = json.dumps({"a": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}})
    return raw(header.encode(), bytes(size))


def with_header(text: str) -> bytes:
    return raw(json.dumps({"__metadata__": {"lagvis": text}}).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        np.random.default_rng(0).bytes(500),
        bytes(500),
        raw(b"{}", length=2**63),
        raw(b"{}", length=3),
        raw(b"no json"),
        raw(b"{}"),
        foreign("F32", 4),
        foreign("F16", 2),
        foreign("BF16", 2),
        foreign("F8_E4M3", 1),
        pickle.dumps(FailsWhenUnpickled()),
        with_header("{no json"),
        with_header("[" * 5000),
        with_header("[]"),
        with_header("{}"),
        with_header('{"format": 1}'),
    ],
    ids=[
        "empty", "random bytes", "zeros", "header of 2^63 bytes", "header cut", "header of text", "no tensors",
        "another program's float32", "another program's float16", "another program's bfloat16",
        "another program's float8", "pickle", "meaning of text", "meaning nested deeply", "meaning a list",
        "meaning without format", "format alone",
    ],
)  # fmt: skip
def test_read_checkpoint_other_content_raises_with_name(path, content):
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "folder"])
def test_read_checkpoint_no_file_raises_with_name(path, make):
    make(path)
    refusal(path)


def test_read_checkpoint_flipped_bit_raises(path):
    write_checkpoint(path, trained())
    content = path.read_bytes()
    for at in [*range(0, len(content), 53), len(content) - 1]:
        broken = bytearray(content)
        broken[at] ^= 1 << (at % 8)
        path.write_bytes(broken)
        refusal(path)


def test_read_checkpoint_digest_of_other_arrays_raises(path, parts):
    arrays, meaning = parts
    path.write_bytes(save(arrays | {"params.0.b": arrays["params.0.b"] + 1}, metadata={"lagvis": json.dumps(meaning)}))
    assert "is damaged: its digest does not match" in refusal(path)


@pytest.mark.parametrize(
    "totals",
    [
        {"totals.loss": np.float64(1)},
        {"totals.loss": np.ones(2)},
        {"totals.other": np.ones(())},
        {"totals.0": np.ones(2)},
    ],
    ids=str,
)
def test_read_checkpoint_totals_of_another_network_raise(path, parts, totals):
    arrays, meaning = parts
    compose(path, arrays | {name: np.asarray(value) for name, value in totals.items()}, meaning)
    refusal(path)


def test_read_checkpoint_truncated_file_raises(path):
    write_checkpoint(path, trained())
    content = path.read_bytes()
    for kept in [*range(12), *range(12, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:kept])
        refusal(path)
    path.write_bytes(content + b"\0")
    refusal(path)


@pytest.mark.parametrize("version", [0, 1, 999, "2", None])
def test_read_checkpoint_other_format_raises_with_number(path, parts, version):
    arrays, meaning = parts
    compose(path, arrays, meaning | {"format": version})
    sentence = refusal(path)
    assert repr(version) in sentence
    assert "expected format 3" in sentence


ARRAYS = [
    *(f"{slot}.{layer}.{name}" for slot in ("params", "velocity") for layer in (0, 1) for name in "Wb"),
    *(f"{part}_scaling.{name}" for part in "xy" for name in ("mean", "deviation")),
    *("ranges.low", "ranges.high"),
]


def test_checkpoint_case_lists_all_arrays_of_the_file(parts):
    assert sorted(parts[0]) == sorted(ARRAYS)


@pytest.mark.parametrize("missing", ARRAYS)
def test_read_checkpoint_missing_array_raises(path, parts, missing):
    arrays, meaning = parts
    compose(path, {name: array for name, array in arrays.items() if name != missing}, meaning)
    refusal(path)


@pytest.mark.parametrize(
    "missing",
    [
        *("activation", "loss", "shape", "class_names", "target_names", "unit", "feature_names", "label_names"),
        *("mnist_style", "background", "epoch", "step", "learning_rate", "best_epoch"),
        *("feature_kind", "training_rows", "picture_range"),
    ],
)
def test_read_checkpoint_missing_header_field_raises(path, parts, missing):
    arrays, meaning = parts
    compose(path, arrays, {key: value for key, value in meaning.items() if key != missing})
    refusal(path)


# The network is 3-8-2.
@pytest.mark.parametrize(
    "change",
    [
        {"params.1.W": np.zeros((9, 2), np.float32)},
        {"params.0.b": np.zeros(9, np.float32)},
        {"params.0.b": np.zeros((8, 1), np.float32)},
        {"params.0.W": np.zeros(24, np.float32)},
        {"params.0.W": np.zeros((2, 3, 8), np.float32)},
        {"params.1.W": np.zeros((), np.float32)},
        {"params.3.W": np.zeros((2, 2), np.float32), "params.3.b": np.zeros(2, np.float32)},
        {"velocity.1.W": np.zeros((9, 2), np.float32)},
        {"x_scaling.mean": np.zeros(2), "x_scaling.deviation": np.ones(2)},
        {"y_scaling.mean": np.zeros(3), "y_scaling.deviation": np.ones(3)},
        {"ranges.low": np.zeros(2), "ranges.high": np.ones(2)},
        {"ranges.low": np.zeros(3, np.float32)},
        {"ranges.low": np.full(3, 1e9)},
        {"ranges.high": np.full(3, np.nan)},
    ],
    ids=[
        "width between layers", "width of b", "axes of b", "W of one axis", "W of three axes", "W a number",
        "a layer after a gap", "velocity", "scaling of x", "scaling of y",
        "ranges", "ranges of float32", "ranges from above to below", "ranges with nan",
    ],
)  # fmt: skip
def test_read_checkpoint_inconsistent_shapes_raise(path, parts, change):
    arrays, meaning = parts
    compose(path, arrays | change, meaning)
    refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "mish"},
        {"activation": ["relu"]},
        {"loss": "hinge"},
        {"shape": [4]},
        {"shape": ["a"]},
        {"shape": None},
        {"target_names": ["one"]},
        {"feature_names": ["a", "b"]},
        {"feature_names": "abc"},
        {"label_names": [1]},
        {"background": 256},
        {"background": -1},
        {"mnist_style": True},
        {"feature_kind": "bytes"},
        {"feature_kind": ["real numbers"]},
        {"training_rows": 0},
        {"picture_range": [1, 0]},
        {"picture_range": [0]},
        {"picture_range": "01"},
        {"epoch": "soon"},
        {"epoch": float("inf")},
        {"epoch": None},
    ],
    ids=str,
)
def test_read_checkpoint_header_not_matching_arrays_raises(path, parts, change):
    arrays, meaning = parts
    compose(path, arrays, meaning | change)
    refusal(path)


@pytest.mark.parametrize("names", [["0"], ["0", "1", "2", "3", "4"], []])
def test_read_checkpoint_wrong_number_of_classes_raises(path, names):
    written = trained("classes")
    write_checkpoint(path, written)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is no dict)
        meaning = json.loads(file.metadata()["lagvis"])
    compose(path, arrays, meaning | {"class_names": names})
    refusal(path)


def test_compose_of_unchanged_parts_is_a_valid_checkpoint(path, parts):
    # otherwise the errors above could come from the helper
    compose(path, *parts)
    assert read_checkpoint(path).step == trained().step


@pytest.mark.parametrize("name", ["params.0.W", "velocity.1.b"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_read_checkpoint_nan_or_infinity_raises(path, parts, name, value):
    arrays, meaning = parts
    array = arrays[name].copy()
    array.flat[0] = value
    compose(path, arrays | {name: array}, meaning)
    assert name in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"params.0.gamma": np.zeros(8, np.float32)},
        {"params.0.W.x": np.zeros(8, np.float32)},
        {"params": np.zeros(8, np.float32)},
        {"adam_m.0.W": np.zeros((3, 8), np.float32)},
        {"params.1.W": np.zeros((8, 2), np.float64)},
        {"velocity.1.W": np.zeros((8, 2), np.float64)},
        {"params.0.W": np.zeros((3, 8), np.int8)},
        {"." * 5000: np.zeros(1, np.float32)},
        {"unknown": np.zeros(1, np.float32)},
    ],
    ids=["gamma", "deeper", "flat", "another optimizer", "two types", "types of slots", "integers", "dots", "unknown"],
)
def test_read_checkpoint_unknown_array_raises(path, parts, change):
    arrays, meaning = parts
    if "params" in change:
        arrays = {name: array for name, array in arrays.items() if not name.startswith("params.")}
    compose(path, arrays | change, meaning)
    refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1, np.float32(0.5), np.zeros(2)], ids=str)
def test_read_checkpoint_invalid_pixel_mean_raises(path, value):
    write_checkpoint(path, trained("classes"))
    arrays, meaning = parts_of(path)
    compose(path, arrays | {"pixel_mean": np.array(value)}, meaning)
    assert "a mean pixel of" in refusal(path)


def test_read_checkpoint_pixel_mean_of_numbers_raises(path, parts):
    arrays, meaning = parts
    compose(path, arrays | {"pixel_mean": np.array(0.5)}, meaning)
    assert "a mean pixel for rows that are no bytes" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"best_epoch": 99, "best_loss": 1.0},
        {"best_epoch": 1, "best_loss": float("nan")},
        {"best_epoch": 1, "best_loss": None},
        {"learning_rate": float("nan")},
        {"learning_rate": -1},
        {"learning_rate": True},
        {"step": 195.7},
        {"step": -1},
        {"shape": [-3, -1]},
        {"target_names": "ab"},
        {"target_names": ["far", "far"]},
        {"target_names": [1, 2]},
    ],
    ids=str,
)
def test_read_checkpoint_invalid_header_value_raises(path, parts, change):
    arrays, meaning = parts
    compose(path, arrays, meaning | change)
    refusal(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("x_scaling.mean", np.nan), ("y_scaling.mean", np.inf), ("x_scaling.deviation", np.nan)]
    + [(f"{which}_scaling.deviation", value) for which in "xy" for value in (0.0, -1.0)],
)
def test_read_checkpoint_invalid_scaling_raises(path, parts, name, value):
    arrays, meaning = parts
    array = arrays[name].copy()
    array[0] = value
    compose(path, arrays | {name: array}, meaning)
    assert "a scaling whose mean is not finite or whose deviation is not positive" in refusal(path)


@pytest.mark.parametrize("change", [{"y_scaling.deviation": np.full(2, np.inf)}, {"y_scaling.limit": np.array(10.0)}])
def test_read_checkpoint_target_scaling_that_cannot_be_undone_raises(path, parts, change):
    arrays, meaning = parts
    compose(path, arrays | change, meaning)
    assert "a scaling of targets that cannot be undone" in refusal(path)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.zeros(2), np.float32(1)], ids=str)
def test_read_checkpoint_invalid_limit_raises(path, parts, value):
    arrays, meaning = parts
    compose(path, arrays | {"x_scaling.limit": np.array(value)}, meaning)
    assert "x_scaling with the limit" in refusal(path)


# --- files of format 2, written before the losses of regression were standardised (tests/storage/data)

DATA = Path(__file__).parent / "data"


def test_read_checkpoint_format_2_has_todays_names_and_the_same_arrays(path):
    old = DATA / "format-2-classes-within-epoch-2.safetensors"
    checkpoint = read_checkpoint(old)
    assert (checkpoint.epoch, checkpoint.step, checkpoint.best_epoch) == (1, 8, 1)
    assert checkpoint.learning_rate == pytest.approx(0.8 / 11)
    assert (checkpoint.model.mnist_style, checkpoint.model.background) == (False, 35)
    assert checkpoint.best_loss == pytest.approx(0.9258725)
    write_checkpoint(path, checkpoint)
    with safe_open(old, framework="numpy") as before, safe_open(path, framework="numpy") as after:
        meanings = [json.loads(file.metadata()["lagvis"]) for file in (before, after)]
        assert [meaning["format"] for meaning in meanings] == [2, 3]
        assert {*before.keys()} == {*after.keys()}
        for name in before.keys():  # noqa: SIM118  (safe_open is no dict)
            assert before.get_tensor(name).tobytes() == after.get_tensor(name).tobytes()
    renamed = {"as_digits": "mnist_style", "paper": "background", "rate": "learning_rate"}
    assert {renamed.get(key, key) for key in meanings[0]} == {*meanings[1]}


def test_read_checkpoint_format_2_of_one_target_has_a_standardised_best_loss():
    checkpoint = read_checkpoint(DATA / "format-2-one-target.safetensors")
    assert checkpoint.best_epoch == 2
    assert checkpoint.best_loss == pytest.approx(59780.06564106155 / 711.99966223**2)


def test_read_checkpoint_format_2_of_several_targets_has_no_best_epoch():
    checkpoint = read_checkpoint(DATA / "format-2-two-targets.safetensors")
    assert checkpoint.epoch == 2
    assert (checkpoint.best_epoch, checkpoint.best_loss) == (0, float("inf"))


@pytest.mark.parametrize("deviation", [1e-200, 1e200])
def test_best_of_format_2_extreme_deviation_divides_twice(deviation):
    model = SimpleNamespace(y_scaling=SimpleNamespace(deviation=np.array([deviation])), widths=(1, 1))
    loss = 0.5 * deviation  # in the user's unit squared; its square root is far from the deviation
    assert best_of_format_2(model, 1, loss) in ((1, 0.5 / deviation), (0, math.inf))


def test_best_of_format_2_loss_beyond_float64_has_no_best_epoch():
    model = SimpleNamespace(y_scaling=SimpleNamespace(deviation=np.array([1e-200])), widths=(1, 1))
    assert best_of_format_2(model, 1, 0.5) == (0, math.inf)


def test_fit_from_a_format_2_checkpoint_within_an_epoch_ends_as_the_uninterrupted_run(monkeypatch):
    monkeypatch.setattr("lagvis.training.plan.CALL_SECONDS", 1e-9)
    settings = {"momentum": 0.9, "nesterov": True, "schedule": "linear", "label_smoothing": 0.1}
    recipe, dataset = quick(epochs=3, validation=20, **settings), classes(120)
    start = read_checkpoint(DATA / "format-2-classes-within-epoch-2.safetensors")
    whole, rest = run(recipe, dataset), run(recipe, dataset, start=start)
    expected = dict(named_leaves(last(whole).state))
    for name, leaf in named_leaves(last(rest).state):
        assert leaf.tobytes() == expected[name].tobytes()
    ended, uninterrupted = epochs(rest), epochs(whole)[1:]
    assert ended[0].train.objective == pytest.approx(uninterrupted[0].train.objective)
    assert ended[0].train.loss > uninterrupted[0].train.loss, "its first steps were summed with label smoothing"
    assert ended[1].train == uninterrupted[1].train
