import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris

from lagvis.data.datasets import load_dataset
from lagvis.data.tables.label_names import LABEL_NAMES, WEAK_LABEL_NAMES, is_label_name, is_weak_label_name
from lagvis.errors import DataError, LabelNotFoundError

RNG = np.random.default_rng(7)
ROWS = 60


def numbers(rows=ROWS):
    return RNG.normal(size=rows).round(3).tolist()


def whole(values, rows=ROWS):
    return [i % values for i in range(rows)]


def texts(levels, rows=ROWS):
    return [f"t{i % levels}" for i in range(rows)]


def unique(rows=ROWS):
    return (1000 + RNG.permutation(9000)[:rows]).tolist()


def names(rows=ROWS):
    return [f"row {i}" for i in range(rows)]


def dates(rows=ROWS):
    return [f"2026-01-{1 + i % 28:02d}" for i in range(rows)]


def write(path, columns, header=None, separator=","):
    rows = [header, *zip(*columns, strict=True)] if header else zip(*columns, strict=True)
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))
    return str(path)


def found_label(path, **options):
    """Return the number of the label column and the reason in the notice."""
    dataset = load_dataset(path, **options)
    reason = re.search(
        r"the label is column \d+(?: \('[^)]*'\))?(?:, (.*?))? \(--label names another\)", dataset.notices[0]
    )
    return dataset.label_columns, reason[1]


@pytest.mark.parametrize(
    ("header", "columns", "regression", "label"),
    [
        (["a", "Label", "c"], [numbers(), whole(3), numbers()], False, 2),
        (["a", "b", "quality"], [numbers(), numbers(), whole(6)], False, 3),
        (["y", "a", "b"], [whole(2), numbers(), numbers()], False, 1),
        (["a", "y", "class"], [numbers(), whole(2), whole(3)], False, 3),
        (["x", "y", "Klasse"], [numbers(), whole(2), texts(3)], False, 3),
        (["a", "Catégorie", "n"], [numbers(), texts(2), whole(2)], False, 2),
        (["sex", "price", "rooms"], [texts(2), unique(), whole(8)], True, 2),
        (["species", "mass", "value"], [texts(2), numbers(), numbers()], True, 3),
        (["Sale_Price", "area"], [unique(), numbers()], True, 1),
        (["income", "sex", "status"], [whole(7), texts(2), whole(3)], False, 3),
        (["sex", "age", "income"], [texts(2), numbers(), texts(2)], False, 3),
    ],
)
def test_find_label_name_of_a_label_is_found(tmp_path, header, columns, regression, label):
    path = write(tmp_path / "t.csv", columns, header)
    assert found_label(path, regression=regression) == ((label,), "by its name")


@pytest.mark.parametrize(
    ("header", "columns", "label", "reason"),
    [
        (["a", "b", "c"], [numbers(), texts(3), numbers()], 2, "the only column of text"),
        (["name", "a", "kind"], [names(), numbers(), texts(3)], 3, "the only column of text"),
        (["unit", "a", "kind"], [["mV"] * ROWS, numbers(), texts(3)], 3, "the only column of text"),
        (["day", "a", "kind"], [dates(), numbers(), texts(3)], 3, "the only column of text"),
        (["a", "b", "c"], [numbers(), ["true", "false"] * 30, numbers()], 2, "the only column of true and false"),
        (None, [texts(4), numbers(), texts(2)], 3, "the last column, of text"),
        (None, [unique(), texts(2), numbers()], 2, "the only column of text"),
        (None, [texts(3), *[whole(7 + i % 9, 300)[:ROWS] for i in range(64)]], 1, "the first column"),
        (None, [whole(10), *[(RNG.integers(0, 256, ROWS)).tolist() for _ in range(64)]], 1, "the first column"),
    ],
)
def test_find_label_without_name_is_found_by_content(tmp_path, header, columns, label, reason):
    columns_found, found = found_label(write(tmp_path / "t.csv", columns, header))
    assert columns_found == (label,)
    assert found.startswith(reason)


def test_find_label_iris_and_wdbc_equal_scikit_learn(tmp_path):
    for data, label in ((load_iris(), 5), (load_breast_cancer(), 2)):
        cells = [[*row, f"class-{data.target_names[y]}"] for row, y in zip(data.data, data.target, strict=True)]
        if label == 2:
            cells = [[8000000 + 17 * i % 569, row[-1], *row[:-1]] for i, row in enumerate(cells)]
        path = tmp_path / "uci.data"
        path.write_text("".join(",".join(map(str, row)) + "\r\n" for row in cells) + "\r\n")
        dataset = load_dataset(str(path))
        assert dataset.label_columns == (label,)
        assert len(dataset.x_train) + len(dataset.x_test) == len(data.data)
        assert sorted(dataset.class_names) == sorted(f"class-{name}" for name in data.target_names)


def options_in(sentence):
    """Return the options for train.py that a sentence proposes."""
    remedy = sentence.split("name it with ")[1]
    return [re.sub(r" \(.*?\)$", "", text) for text in remedy.split(" or ")]


@pytest.mark.parametrize(
    ("header", "columns", "regression", "options"),
    [
        (None, [texts(3), numbers(), numbers(), whole(6)], False, ["--label last", "--label 1"]),
        (["sex", "size", "rings"], [texts(3), numbers(), whole(6)], False, ["--label rings", "--label sex"]),
        (["a", "b", "c d"], [numbers(), numbers(), whole(6)], False, ["--label 'c d'", "--label 'c d' --loss mse"]),
        (["label", "class", "a"], [whole(2), texts(2), numbers()], False, ["--label label", "--label class"]),
        (["price", "type", "a"], [unique(), texts(2), numbers()], False, None),
        (
            ["price", "area", "rooms"],
            [unique(), numbers(), whole(8)],
            False,
            ["--label price --loss mse", "--label rooms"],
        ),
        (["a", "b", "c"], [texts(2), numbers(), texts(3)], False, ["--label c", "--label a"]),
        (["a", "b"], [numbers(), numbers()], False, ["--label b --loss mse", "--label a --loss mse"]),
        (["a", "b"], [numbers(), numbers()], True, ["--label b --loss mse", "--label a --loss mse"]),
        (
            ["target", "response"],
            [numbers(), numbers()],
            True,
            ["--label target --loss mse", "--label response --loss mse"],
        ),
        (["age", *map("q{}".format, range(64))], [whole(9) for _ in range(65)], False, None),
    ],
)
def test_find_label_two_meanings_raise_error_with_two_commands_that_work(
    tmp_path, header, columns, regression, options
):
    path = write(tmp_path / "t.csv", columns, header)
    with pytest.raises(LabelNotFoundError) as caught:
        load_dataset(path, regression=regression)
    proposed = options_in(str(caught.value))
    if options:
        assert proposed == options
    for option in proposed:
        label = option.removesuffix(" --loss mse").removeprefix("--label ").strip("'")
        assert load_dataset(path, label=label, regression=option.endswith("mse")).label_columns


def test_find_label_error_lists_what_the_columns_hold(tmp_path):
    columns = [names(), unique(), numbers(), whole(4), texts(3), dates(), [1] * ROWS, texts(2)]
    path = write(tmp_path / "t.csv", columns, ["n", "id", "x", "count", "kind", "day", "one", "sex"])
    with pytest.raises(LabelNotFoundError) as caught:
        load_dataset(path)
    for words in (
        "n (another text in every row)",
        "id (another whole number in every row)",
        "x (numbers)",
        "count (whole numbers, 4 values)",
        "kind (text, 3 levels)",
        "day (dates)",
        "one (one value)",
        "sex (text, 2 levels)",
    ):
        assert words in str(caught.value)


def test_find_label_optdigits_is_not_answered_in_silence(tmp_path):
    digits = load_digits()
    path = tmp_path / "optdigits.csv"
    np.savetxt(path, np.c_[digits.data, digits.target], fmt="%d", delimiter=",")
    with pytest.raises(LabelNotFoundError, match=r"--label last \(10 classes\)"):
        load_dataset(str(path))
    np.savetxt(path, np.c_[digits.target, digits.data], fmt="%d", delimiter=",")
    assert load_dataset(str(path)).label_columns == (1,)


def test_find_label_first_and_last_beside_pixels_raise_error(tmp_path):
    pixels = [RNG.integers(0, 256, ROWS).tolist() for _ in range(63)]
    path = write(tmp_path / "t.csv", [whole(4), *pixels, whole(3)])
    with pytest.raises(LabelNotFoundError, match=r"column 1 and column 65 .*--label 1 .*--label last"):
        load_dataset(path)


def test_find_label_only_column_that_the_options_leave(tmp_path):
    path = write(tmp_path / "t.csv", [numbers(), numbers(), whole(3)], ["a", "b", "c"])
    assert found_label(path, features=("a", "b")) == ((3,), "the only column that the options leave for it")
    path = write(tmp_path / "t.csv", [numbers(), whole(3), unique()], ["a", "b", "c"])
    assert found_label(path, features=("a",), id=("c",))[0] == (2,)


def test_find_label_only_column_of_numbers_is_predicted(tmp_path):
    path = write(tmp_path / "t.csv", [unique(), texts(3), numbers(), texts(2)], ["id", "a", "b", "c"])
    assert found_label(path, regression=True) == ((3,), "the only column of numbers")


def test_label_names_are_found_without_case_accents_and_marks():
    for name in ("LABEL", "Class_Label", " target ", "étiquette", "Etiquette", "QUALITÄT", "Jakość", "Zielgröße"):
        assert is_label_name(name)
    for name in ("Sale-Price", "preço", "wartosc", "Værdi"):
        assert is_weak_label_name(name)
        assert not is_label_name(name)
    for name in ("labelled_by", "x", "", "classroom"):
        assert not is_label_name(name)
        assert not is_weak_label_name(name)


def test_label_names_are_all_in_the_documentation():
    text = Path(__file__).parents[3].joinpath("docs", "data.md").read_text(encoding="utf-8")
    assert [name for name in LABEL_NAMES | WEAK_LABEL_NAMES if f"`{name}`" not in " ".join(text.split())] == []


def test_load_dataset_prices_as_classes_raise_error_with_loss_mse_and_the_escape(tmp_path):
    area = RNG.integers(40, 300, 1500)
    price = (area * 21000 + RNG.integers(-90000, 90000, 1500)) // 50 * 50
    path = write(tmp_path / "t.csv", [price, area], ["price", "area"])
    with pytest.raises(DataError, match=r"different numbers in 1,500 rows.*--loss mse.*--category price"):
        load_dataset(path, label="price")
    assert len(load_dataset(path, label="price", category=("price",)).class_names) == len(np.unique(price))
    assert load_dataset(path, label="price", regression=True).target_names == ("price",)
    np.savez(tmp_path / "t.npz", x=area[:, None], y=price)
    with pytest.raises(DataError, match=r"different numbers in 1,500 rows.*--loss mse.*as text"):
        load_dataset(str(tmp_path / "t.npz"))
    np.savez(tmp_path / "t.npz", x=area[:, None], y=price.astype(str))
    assert len(load_dataset(str(tmp_path / "t.npz")).class_names) == len(np.unique(price))


@pytest.mark.parametrize("mistake", ['"{:,}.5"', "1.5.2"])
@pytest.mark.parametrize("others", [[texts(3)], [texts(3), texts(2)], [numbers()]])
def test_find_label_number_with_a_mistake_is_no_text(tmp_path, mistake, others):
    column = [f"{i % 20}.5" for i in range(ROWS)]
    column[4] = mistake.format(2000)
    path = write(tmp_path / "t.csv", [column, *others], ["ch0", *"xyz"[: len(others)]])
    with pytest.raises(DataError, match=r"line 6, column 1 \('ch0'\) is '"):
        load_dataset(path)


def test_find_label_numbers_last_behind_text_are_proposed_as_numbers(tmp_path):
    months, days = ("jan", "feb", "mar"), ("mon", "tue")
    rows = [f"{i % 9},{months[i % 3]},{days[i % 2]},{i * 0.37 % 5:.2f}" for i in range(60)]
    path = tmp_path / "fires.csv"
    path.write_text("\n".join(["x,month,day,area", *rows, ""]))
    with pytest.raises(DataError, match=r"name it with --label area --loss mse \(numbers to predict\) or --label day"):
        load_dataset(str(path))


def test_find_label_text_beside_other_text_of_features_is_not_taken(tmp_path):
    rows = [f"{i % 9},{('m', 'f')[i % 2]},{('S', 'C', 'Q')[i % 3]},{i % 7}" for i in range(60)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x,sex,embarked,fare", *rows, ""]))
    with pytest.raises(LabelNotFoundError):
        load_dataset(str(path), features=("x", "sex"))
