import gzip
import io
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
from lagvis.data.input_spec import InputSpec
from lagvis.errors import DataError

X = np.random.default_rng(5).normal(size=(20, 3))
Y = np.arange(20) % 2
GOOD = {"x_train": X, "y_train": Y, "x_test": X[:6], "y_test": Y[:6]}
TARGETS = X[:, :2] * 10


def save(folder, **arrays):
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return str(path)


def error_message(path, **options) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(path, **options)
    return str(caught.value)


def header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "<f8"})
    return file.getvalue()


def test_read_npz_four_arrays(tmp_path):
    dataset = load_dataset(save(tmp_path, **GOOD))
    np.testing.assert_array_equal(dataset.x_train, X)
    np.testing.assert_array_equal(dataset.y_train, Y)
    np.testing.assert_array_equal(dataset.x_test, X[:6])
    np.testing.assert_array_equal(dataset.y_test, Y[:6])
    assert dataset.name == "mine"
    assert dataset.shape == (3,)
    assert dataset.class_names == ("0", "1")
    assert dataset.all_notices == ()
    assert list(dataset.sha256) == ["mine.npz"]


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("u1", "uint8"), ("i1", "float64"), ("i8", "float64"), ("f2", "float64"), ("f4", "float64"), ("?", "float64")],
)
def test_read_npz_bytes_stay_uint8_others_become_float64(tmp_path, dtype, kept):
    x = np.array([[0, 1], [1, 0], [1, 1], [0, 0]]).astype(dtype) * np.array(200 if dtype == "u1" else 1, dtype)
    dataset = load_dataset(save(tmp_path, x_train=x, y_train=[0, 1, 0, 1], x_test=x, y_test=[0, 1, 0, 1]))
    assert dataset.x_train.dtype == dataset.x_test.dtype == kept
    assert dataset.x_train.tolist() == x.tolist()


def test_read_npz_uint8_beside_float_becomes_float64(tmp_path):
    dataset = load_dataset(save(tmp_path, **GOOD | {"x_train": (X > 0).astype(np.uint8)}))
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.float64


def test_read_npz_x_and_y_split_is_reproducible(tmp_path):
    x, y = np.arange(100.0).reshape(100, 1), np.arange(100) % 4
    a, b = load_dataset(save(tmp_path, x=x, y=y)), load_dataset(save(tmp_path, x=x, y=y))
    np.testing.assert_array_equal(a.x_test, b.x_test)
    assert sorted(np.concatenate([a.x_train, a.x_test]).ravel()) == list(range(100))
    assert len(a.x_test) == 20
    assert np.bincount(a.y_test).tolist() == [5, 5, 5, 5]
    np.testing.assert_array_equal(a.x_train.ravel() % 4, a.y_train)
    assert "20 of its 100 rows" in a.all_notices[0]


def test_read_npz_x_and_y_split_is_stratified(tmp_path):
    y = np.repeat([7, 9], [90, 10])
    dataset = load_dataset(save(tmp_path, x=np.zeros((100, 2)), y=y))
    assert dataset.class_names == ("7", "9")
    assert np.bincount(dataset.y_test).tolist() == [18, 2]


@pytest.mark.parametrize("y", [np.arange(200), np.arange(200.0)], ids=["whole", "real"])
def test_read_npz_x_and_y_targets_are_split_at_random(tmp_path, y):
    dataset = load_dataset(save(tmp_path, x=np.zeros((200, 1)), y=y), regression=True)
    # The mean of 40 out of 0..199 at random is 99.5 with a deviation of 8.2; the smallest 40 have the mean 19.5.
    assert dataset.y_test.mean() == pytest.approx(99.5, abs=5 * 8.2)


class FailsWhenUnpickled:
    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize("part", ["x_train", "y_test", "target_names", "unit"])
def test_read_npz_object_array_is_never_unpickled(tmp_path, part):
    object_array = np.array([FailsWhenUnpickled()], dtype=object)
    assert "mine.npz" in error_message(save(tmp_path, **GOOD | {part: object_array}))


def test_load_dataset_pickle_named_npz_is_never_executed(tmp_path):
    path = tmp_path / "mine.npz"
    path.write_bytes(pickle.dumps(FailsWhenUnpickled()))
    assert str(path) in error_message(str(path))


def written(path, content) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in content.items():
            archive.writestr(name, member)


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def encrypted(members) -> bytes:
    file = io.BytesIO()
    written(file, members)
    content = bytearray(file.getvalue())
    content[content.index(b"PK\1\2") + 8] |= 1  # the encryption flag in the archive's directory
    return bytes(content)


BROKEN = {
    "empty": b"",
    "no zip": b"no zip at all",
    "npy named npz": npy(X),
    "folder in the zip": {"d/": b"", "d/x.npy": npy(X), "d/y.npy": npy(Y)},
    "folder named x": {"x/": b"", "y.npy": npy(Y)},
    "zip of nothing": {},
    "zip of another kind": {"readme.txt": "hello"},
    "members of text": {"x.npy": "no array", "y.npy": "no array"},
    "member cut": {"x.npy": npy(X)[:-9], "y.npy": npy(Y)},
    "encrypted": encrypted({"x.npy": npy(X), "y.npy": npy(Y)}),
    "size overflows": {"x.npy": header((2**62, 4)), "y.npy": npy(Y)},
    "length overflows": {"x.npy": header((2**70,)), "y.npy": npy(Y)},
    # exceeds every address space, so no allocation can succeed by accident
    "giant": {"x.npy": header((2**45,)) + bytes(80), "y.npy": npy(Y)},
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_read_npz_invalid_file_raises_data_error(tmp_path, content):
    path = tmp_path / "mine.npz"
    written(path, content)
    assert str(path) in error_message(str(path))


@pytest.mark.parametrize("missing", GOOD)
def test_read_npz_missing_array_is_named(tmp_path, missing):
    kept = {name: array for name, array in GOOD.items() if name != missing}
    message = error_message(save(tmp_path, **kept))
    assert f"holds {', '.join(kept)};" in message
    assert missing in message.partition(";")[2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("array", "part"), [("x_train", "training"), ("x_test", "test")])
def test_read_npz_x_not_finite_names_row_from_1(tmp_path, value, array, part):
    x = GOOD[array].copy()
    x[4, 1] = value
    assert f"{part} row 5" in error_message(save(tmp_path, **GOOD | {array: x}))


def test_read_npz_x_too_large_for_float64_raises_data_error(tmp_path):
    x = X.astype(np.longdouble) * np.longdouble("1e4000")
    if not np.isfinite(x).all():
        pytest.skip("long double is float64 here")
    error_message(save(tmp_path, **GOOD | {"x_train": x}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x_train": X[:19]}, ["training", "(19, 3)", "(20,)"]),
        ({"y_test": Y[:5]}, ["test", "(6, 3)", "(5,)"]),
        ({"x_test": X[:6, :2]}, ["(3,)", "(2,)"]),
        ({"x_train": X[:, 0]}, ["training", "(20,)"]),
        ({"x_test": X[:0], "y_test": Y[:0]}, ["test", "(0, 3)"]),
        ({"y_train": np.int64(3)}, ["training", "()"]),
        ({"y_train": np.zeros((20, 2, 2))}, ["training", "(20, 2, 2)"]),
        ({"x_train": X[:, :0], "x_test": X[:6, :0]}, ["(20, 0)"]),
        ({"x_train": X.astype(str)}, ["training", "<U"]),
        ({"x_test": X[:6].astype(complex)}, ["test", "complex128"]),
        ({"y_train": Y.astype(complex)}, ["y_train", "complex128"]),
    ],
    ids=[
        "fewer x", "fewer y", "narrower test", "x of one axis", "no test rows", "y a number", "y of three axes",
        "rows of no numbers", "x of text", "complex x", "complex y",
    ],
)  # fmt: skip
def test_read_npz_wrong_shape_or_type_raises_data_error(tmp_path, change, words):
    message = error_message(save(tmp_path, **GOOD | change))
    assert "mine" in message
    assert [word for word in words if word not in message] == []


SETS = {
    "upper case": ("X_train", "Y_train", "X_test", "Y_test"),
    "keras": ("train_images", "train_labels", "test_images", "test_labels"),
    "data and target": ("data_train", "target_train", "data_test", "target_test"),
    "part first": ("train_x", "train_y", "test_x", "test_y"),
}


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_read_npz_alternative_names_of_four_arrays(tmp_path, names):
    strange = {"val_images": np.zeros(3), "notes": np.array([FailsWhenUnpickled()], dtype=object)}
    dataset = load_dataset(save(tmp_path, **dict(zip(names, GOOD.values(), strict=True)), **strange))
    np.testing.assert_array_equal(dataset.x_train, X)
    np.testing.assert_array_equal(dataset.y_test, Y[:6])


@pytest.mark.parametrize("names", [("data", "target"), ("X", "y"), ("images", "labels")])
def test_read_npz_alternative_names_of_x_and_y(tmp_path, names):
    dataset = load_dataset(save(tmp_path, **dict(zip(names, (X, Y), strict=True))))
    assert len(dataset.x_test) == 4
    assert "4 of its 20 rows" in dataset.all_notices[0]


def test_read_npz_two_names_for_one_array_raises_data_error(tmp_path):
    message = error_message(save(tmp_path, **GOOD, X_train=X))
    assert "x_train.npy" in message
    assert "X_train.npy" in message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_read_npz_repeated_member_raises_data_error(tmp_path):
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x.npy", "y.npy", "x.npy"):
            archive.writestr(name, npy(X if name == "x.npy" else Y))
    assert "both x.npy and x.npy" in error_message(str(path))


def test_read_npz_error_lists_at_most_ten_members(tmp_path):
    assert len(error_message(save(tmp_path, **{f"arr_{i}": Y for i in range(500)}))) < 400


@pytest.mark.parametrize("dtype", ["c16", "M8[s]", "m8[s]", [("a", "f4"), ("b", "i4")]], ids=str)
@pytest.mark.parametrize("member", ["x_train", "y_train"])
def test_read_npz_other_types_raise_data_error(tmp_path, member, dtype):
    assert f"{member}.npy holds" in error_message(save(tmp_path, **GOOD | {member: np.zeros(20, dtype=dtype)}))


@pytest.mark.parametrize("dtype", [">f8", ">i4", ">u2", "?", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_read_npz_any_byte_order_and_memory_layout(tmp_path, dtype, order):
    x = np.asarray(np.arange(60).reshape(20, 3) % 5, dtype=dtype, order=order)
    dataset = load_dataset(
        save(tmp_path, **GOOD | {"x_train": x, "y_train": (Y + 5).astype(">i4"), "y_test": Y[:6] + 5})
    )
    np.testing.assert_array_equal(dataset.x_train, x.astype(float))
    assert dataset.x_train.dtype.isnative
    assert dataset.x_train.flags.c_contiguous
    assert dataset.class_names == ("5", "6")


def test_read_npz_uint8_in_column_order_becomes_contiguous(tmp_path):
    x = np.asfortranarray(np.arange(60, dtype=np.uint8).reshape(20, 3))
    dataset = load_dataset(save(tmp_path, **GOOD | {"x_train": x, "x_test": x[:6]}))
    assert dataset.x_train.flags.c_contiguous
    np.testing.assert_array_equal(dataset.x_train, x)


@pytest.mark.parametrize("kind", ["U", "S"])
def test_read_npz_text_labels(tmp_path, kind):
    words = np.array(["kat", "hund"])[Y].astype(kind)
    dataset = load_dataset(save(tmp_path, x=X, y=words))
    assert dataset.class_names == ("hund", "kat")
    assert sorted(np.bincount(dataset.y_test).tolist()) == [2, 2]


def test_read_npz_x_and_y_error_names_row_of_file_from_1(tmp_path):
    y = Y.astype(float)
    y[13] = 2.5
    assert "mine.npz: row 14 has the label 2.5" in error_message(save(tmp_path, x=X, y=y))


def test_read_npz_whole_float_labels_are_integers(tmp_path):
    dataset = load_dataset(save(tmp_path, **GOOD | {"y_train": Y + 3.0, "y_test": Y[:6] + 3.0}))
    assert dataset.class_names == ("3", "4")
    np.testing.assert_array_equal(dataset.y_train, Y)


def test_read_npz_integer_and_float_labels_match(tmp_path):
    dataset = load_dataset(save(tmp_path, **GOOD | {"y_test": Y[:6].astype(np.float32)}))
    np.testing.assert_array_equal(dataset.y_test, Y[:6])


@pytest.mark.parametrize("label", [2.5, np.nan, np.inf, 1e30])
@pytest.mark.parametrize(("array", "part"), [("y_train", "training"), ("y_test", "test")])
def test_read_npz_fractional_label_names_row_from_1(tmp_path, label, array, part):
    y = GOOD[array].astype(np.float64)
    y[3] = label
    message = error_message(save(tmp_path, **GOOD | {array: y}))
    assert f"{part} row 4" in message
    assert str(label) in message


@pytest.mark.parametrize("labels", [[-1, 4], [-100, 2**40], [0, 2]])
def test_read_npz_labels_with_gaps_or_signs_keep_their_names(tmp_path, labels):
    y = np.array(labels)[1 - Y]
    dataset = load_dataset(save(tmp_path, **GOOD | {"y_train": y, "y_test": y[:6]}))
    assert dataset.class_names == tuple(map(str, labels))
    np.testing.assert_array_equal(dataset.y_train, 1 - Y)
    assert len(dataset.all_notices) == 1


@pytest.mark.parametrize(("count", "dtype"), [(256, "uint8"), (257, "int32")])
def test_read_npz_class_indices_take_smallest_dtype(tmp_path, count, dtype):
    x, y = np.zeros((count, 1)), np.arange(count)
    dataset = load_dataset(save(tmp_path, x_train=x, y_train=y, x_test=x, y_test=y))
    assert dataset.y_train.dtype == dataset.y_test.dtype == dtype
    np.testing.assert_array_equal(dataset.y_test, y)


@pytest.mark.parametrize(("y", "width"), [(TARGETS[:, 0], 1), (TARGETS[:, :1], 1), (TARGETS, 2)])
def test_read_npz_targets_become_float64_columns(tmp_path, y, width):
    dataset = load_dataset(save(tmp_path, **GOOD | {"y_train": y, "y_test": y[:6]}), regression=True)
    np.testing.assert_array_equal(dataset.y_train, TARGETS[:, :width])
    np.testing.assert_array_equal(dataset.y_test, TARGETS[:6, :width])
    assert dataset.y_train.dtype == np.float64
    assert dataset.n_out == width
    assert dataset.class_names == ()
    assert dataset.target_names == ("target 0", "target 1")[:width]


def test_read_npz_target_names_and_unit(tmp_path):
    named = {"y_train": TARGETS, "y_test": TARGETS[:6], "target_names": ["length", "height"], "unit": "cm"}
    dataset = load_dataset(save(tmp_path, **GOOD | named), regression=True)
    assert dataset.target_names == ("length", "height")
    assert dataset.unit == "cm"


@pytest.mark.parametrize(
    "change",
    [
        {"target_names": ["length"]},
        {"y_test": TARGETS[:6, 0]},
        {"y_train": np.where(TARGETS > 5, np.nan, TARGETS)},
        {"y_test": TARGETS[:6, :, None]},
        {"y_train": TARGETS.astype(str)},
        {"y_train": TARGETS[:, :0], "y_test": TARGETS[:6, :0]},
    ],
    ids=["one name for two", "fewer in test", "nan", "three axes", "text", "none"],
)
def test_read_npz_invalid_targets_raise_data_error(tmp_path, change):
    assert "mine" in error_message(
        save(tmp_path, **GOOD | {"y_train": TARGETS, "y_test": TARGETS[:6]} | change), regression=True
    )


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [(X, Y[:19], "x (20, 3) and y (19,)"), (X[:1], Y[:1], "a single row"), (np.float64(3), Y, "x ()")],
    ids=["counts differ", "one row", "x a number"],
)
def test_read_npz_x_and_y_that_cannot_be_split_raise_data_error(tmp_path, x, y, words):
    assert f"mine.npz holds {words}" in error_message(save(tmp_path, x=x, y=y))


def test_load_dataset_jump():
    dataset = load_dataset("jump", regression=True)
    assert dataset.x_train.shape == (3200, 4)
    assert dataset.target_names == ("long jump", "high jump")
    assert dataset.unit == "m"


@pytest.mark.filterwarnings("ignore")  # numpy and zipfile may warn before the file is rejected
@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_read_npz_any_byte_changed_gives_data_or_data_error(tmp_path, mask):
    path = tmp_path / "mine.npz"
    np.savez(path, x=X[:5, :1], y=Y[:5])
    good = path.read_bytes()
    strange = {}
    for position in range(len(good)):
        content = bytearray(good)
        content[position] ^= mask
        path.write_bytes(content)
        try:
            assert len(load_dataset(str(path)).x_train) == 4
        except DataError:
            continue
        except Exception as error:
            strange[position] = repr(error)
    assert strange == {}


# --- regression tests of faults found by fuzzing (docs/fuzzing.md)


def with_member(path, name, member) -> str:
    members = {f"{key}.npy": npy(value) for key, value in GOOD.items()}
    written(path, members | {f"{name}.npy": member})
    return str(path)


def npy_with_header(text: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + body


NOBODY = np.array([0x110000], np.uint32).view("<U1")  # not a valid code point


@pytest.mark.parametrize("name", ["unit", "target_names", "y_train"])
def test_read_npz_invalid_characters_raise_data_error(tmp_path, name):
    path = with_member(tmp_path / "mine.npz", name, npy(NOBODY))
    assert f"{name}.npy holds text with invalid characters" in error_message(path)


@pytest.mark.parametrize("name", ["unit", "target_names"])
@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\ud800"], ids=ascii)
def test_read_npz_unprintable_name_or_unit_raises_data_error(tmp_path, name, text):
    path = save(tmp_path, **GOOD | {"y_train": X[:, 0], "y_test": X[:6, 0], name: np.array([text])})
    assert "expected printable text" in error_message(path, regression=True)


@pytest.mark.parametrize("descr", ["<U0", "|S0"])
def test_read_npz_text_of_zero_length_allocates_no_memory(tmp_path, descr):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({2**62},), }}\n"
    assert "y_train.npy holds" in error_message(with_member(tmp_path / "mine.npz", "y_train", npy_with_header(header)))


def test_read_npz_many_empty_rows_allocate_no_memory(tmp_path):
    empty = npy_with_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**40}, 0), }}\n")
    path = tmp_path / "mine.npz"
    written(path, {"x.npy": empty, "y.npy": empty})
    assert f"({2**40}, 0)" in error_message(str(path))


@pytest.mark.parametrize("text", ["~" * 9000 + "1", "-" * 5000 + "1", "(" * 150, "{'descr': '\\e'}"], ids=len)
def test_read_npz_deeply_nested_header_raises_data_error(tmp_path, text):
    path = with_member(tmp_path / "mine.npz", "x_train", npy_with_header(text))
    # recorded, because the reader would catch a warning raised as an error
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert "mine.npz" in error_message(path)
    assert caught == []


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_read_npz_other_compression_raises_data_error(tmp_path, method):
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in GOOD.items():
            archive.writestr(f"{name}.npy", npy(array))
    assert "x_train.npy is not compressed as NumPy does it" in error_message(str(path))


@pytest.mark.parametrize("unit", [["cm", "m"], []], ids=len)
def test_read_npz_several_units_raise_data_error(tmp_path, unit):
    path = save(tmp_path, **GOOD | {"y_train": X[:, 0], "y_test": X[:6, 0], "unit": np.array(unit, str)})
    assert "expected one text" in error_message(path, regression=True)


def test_read_npz_negative_axis_raises_data_error(tmp_path):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (-20, -3), }\n"
    assert "of shape (-20, -3)" in error_message(
        with_member(tmp_path / "mine.npz", "x_train", npy_with_header(header, bytes(60)))
    )


@pytest.mark.parametrize("dtype", ["<f2", "<f4", np.longdouble])
def test_read_npz_float_labels_of_any_width(tmp_path, dtype):
    y = (Y + 5).astype(dtype)
    dataset = load_dataset(save(tmp_path, **GOOD | {"y_train": y, "y_test": y[:6]}))
    assert dataset.class_names == ("5", "6")


def test_read_npz_labels_and_targets_too_large_raise_data_error(tmp_path):
    y = Y.astype(np.longdouble) * np.longdouble("1e4000")
    if not np.isfinite(y).all():
        pytest.skip("long double is float64 here")
    path = save(tmp_path, **GOOD | {"y_train": y})
    assert "training row 2 has the label" in error_message(path)
    assert "training row 2 has a NaN or an infinity" in error_message(path, regression=True)


@pytest.mark.parametrize(
    "names", [("x_train", "y_train"), ("train_images", "train_labels"), ("X_TRAIN", "TARGET_TRAIN")]
)
def test_read_npz_training_part_alone_is_split_as_x_and_y(tmp_path, names):
    alone = load_dataset(save(tmp_path, **dict(zip(names, (X, Y), strict=True))))
    both = load_dataset(save(tmp_path, x=X, y=Y))
    np.testing.assert_array_equal(alone.x_test, both.x_test)
    np.testing.assert_array_equal(alone.y_train, both.y_train)
    assert alone.all_notices == both.all_notices


def test_read_npz_test_part_alone_is_for_evaluation_only(tmp_path):
    path = save(tmp_path, x_test=X, y_test=Y)
    assert "missing: x_train, y_train" in error_message(path)
    spec = InputSpec((3,), is_bytes=False, class_names=tuple(sorted({*map(str, Y)})))
    assert len(load_dataset(path, class_names=spec.class_names, spec=spec).all_as_test().x_test) == len(X)


def test_read_npz_without_labels_names_predict(tmp_path):
    assert "missing: y; predict.py takes rows without labels" in error_message(save(tmp_path, x=X))


def test_read_npz_within_gzip_is_named(tmp_path):
    path = tmp_path / "a.npz.gz"
    path.write_bytes(gzip.compress(Path(save(tmp_path, x=X, y=Y)).read_bytes()))
    assert error_message(str(path)) == f"{path} is an NPZ file within a gzip file; unpack it"
