"""Tables as people have them, through the commands: each is written by its test in the way of a public data set."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris

from lagvis.cli import evaluate, predict, train
from lagvis.cli.errors import run_cli
from lagvis.data.datasets import load_dataset

# A table of some hundred rows needs small steps, and no more.
QUICK = ("--no-plots", "--device", "cpu", "--hidden", "16", "-b", "20", "--name", "run")


@dataclass
class Result:
    """Exit code of a command, its lines on stderr, and its JSON result (empty after an error)."""

    code: int
    said: str
    values: dict


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def run(capsys):
    """Return a function that runs a command and returns its Result."""

    def run(command, *arguments):
        capsys.readouterr()
        code = run_cli(command.main, [*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        return Result(code, captured.err, json.loads(captured.out) if captured.out else {})

    return run


@pytest.fixture
def trained(run):
    """Return a function that trains on a path without an error and returns the Result."""

    def trained(path, *flags):
        result = run(train, "--data", path, *QUICK, *flags)
        assert result.code == 0, result.said
        return result

    return trained


@pytest.fixture
def answered(run):
    """Return a function that predicts a table into a CSV file and returns the cells of its lines."""

    def answered(path, *flags):
        result = run(predict, "run", path, "--output", "answers.csv", *flags)
        assert result.code == 0, result.said
        with open("answers.csv", encoding="utf-8", newline="") as file:
            return list(csv.reader(file))

    return answered


@pytest.fixture
def refused(run):
    """Return a function that trains on a path, which must be refused with exit code 3, and returns the sentence."""

    def refused(path, *flags):
        result = run(train, "--data", path, *QUICK, *flags)
        assert result.code == 3, result.said
        return result.said.splitlines()[-1]

    return refused


def write_table(path, rows, header=None, separator=",", end="\n", tail="\n"):
    """Write a table of cells that are written as str() writes them."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    lines = ([separator.join(header)] if header else []) + [separator.join(map(str, row)) for row in rows]
    Path(path).write_bytes((end.join(lines) + tail).encode())


def adult_rows(rng, count, dot=""):
    """Return rows like those of Adult: numbers and text, `?` for a missing cell, the class last."""
    rows = []
    for i in range(count):
        age, hours = rng.integers(17, 90), rng.integers(1, 99)
        work = ["Private", "State-gov", "?"][i % 3]
        income = (">50K" if age * hours > 2500 else "<=50K") + dot
        weight, years = rng.integers(12285, 10**6), rng.integers(1, 17)
        rest = ["Never-married", "Sales", "Husband", "White", "Male", 0, 0, hours, "United-States"]
        rows.append([age, work, weight, "Bachelors", years, *rest, income])
    return rows


def test_adult_without_header_learns_the_last_column_from_numbers_and_text(trained, rng):
    write_table("adult.data", adult_rows(rng, 600), separator=", ", tail="\n\n")
    result = trained("adult.data", "-e", "20")
    assert result.values["classes"] == ["<=50K", ">50K"]
    assert result.values["test_accuracy"] > 0.9
    assert "the label is column 15" in result.said


def test_adult_folder_with_remark_and_dots_has_two_classes(trained, rng):
    write_table("c02/adult.data", adult_rows(rng, 600), separator=", ", tail="\n\n")
    test_rows = [["|1x3 Cross validator"], *adult_rows(rng, 200, ".")]
    write_table("c02/adult.test", test_rows, separator=", ", tail="\n\n")
    result = trained("c02", "-e", "20")
    assert result.values["classes"] == ["<=50K", ">50K"]
    assert sum(result.values["counts"].values()) == 200
    assert result.values["test_accuracy"] > 0.9
    assert "the label '<=50K.' is taken as '<=50K'" in result.said


def test_adult_evaluate_equals_predict_row_by_row(trained, run, rng):
    write_table("adult.data", adult_rows(rng, 300), separator=", ")
    trained("adult.data", "-e", "5")
    rows = adult_rows(rng, 100)
    rows[3][1] = "Never-worked"  # a level that training did not have
    write_table("new.data", rows, separator=", ")
    answers = [prediction["answer"] for prediction in run(predict, "run", "new.data").values["predictions"]]
    accuracy = np.mean([answer == row[-1] for answer, row in zip(answers, rows, strict=True)])
    assert run(evaluate, "run", "--data", "new.data").values["test_accuracy"] == pytest.approx(accuracy)


def wine_and_abalone(rng):
    """Return 400 rows of four numbers and a grade from 3 to 8 that follows from the first two."""
    x = rng.normal(0, 1, (400, 4))
    return x, np.clip(np.round(5.6 + x[:, 0] + 0.3 * x[:, 1]), 3, 8).astype(int)


def write_wine(rng):
    x, grade = wine_and_abalone(rng)
    names = [f'"{name}"' for name in ("fixed acidity", "volatile acidity", "citric acid", "pH", "quality")]
    rows = [[*(f"{value:.3g}" for value in 7 + row), q] for row, q in zip(x, grade, strict=True)]
    write_table("winequality-red.csv", rows, names, separator=";")


def test_wine_never_learns_its_first_column(trained, rng):
    write_wine(rng)
    result = trained("winequality-red.csv", "-e", "1")
    assert "the label is column 5 ('quality')" in result.said
    assert result.values["classes"] == ["3", "4", "5", "6", "7", "8"]


def test_wine_as_numbers_has_an_error_in_points(trained, rng):
    write_wine(rng)
    result = trained("winequality-red.csv", "--label", "quality", "--loss", "mse", "--lr", "0.01", "-e", "40")
    assert result.values["targets"] == ["quality"]
    assert result.values["test_errors"]["quality"] < 0.6


def write_abalone(rng):
    x, rings = wine_and_abalone(rng)
    rows = [
        ["MFI"[i % 3], *(f"{abs(value):.3f}" for value in row), count + 5]
        for i, (row, count) in enumerate(zip(x, rings, strict=True))
    ]
    write_table("abalone.data", rows)


def test_abalone_without_label_is_refused_with_both_commands(refused, rng):
    write_abalone(rng)
    sentence = refused("abalone.data")
    assert "--label" in sentence
    assert "column 1" in sentence
    assert "column 6" in sentence or "last" in sentence


@pytest.mark.parametrize("flags", [("-e", "5"), ("-e", "20", "--loss", "mse", "--lr", "0.01")])
def test_abalone_with_label_learns_from_the_letters_too(trained, rng, flags):
    write_abalone(rng)
    result = trained("abalone.data", "--label", "last", *flags)
    assert result.values["network"].startswith("7-16-")


def housing_rows(rng, count):
    """Return rows like those of California's blocks of houses; a hundredth of `total_bedrooms` is missing."""
    rows = []
    for _ in range(count):
        rooms, income = rng.integers(500, 6000), rng.uniform(1, 10)
        place = ["NEAR BAY", "INLAND", "<1H OCEAN"][rng.integers(3)]
        value = round((40000 * income + 60000 * (place != "INLAND") + rng.normal(0, 8000)) / 100) * 100
        bedrooms = "" if rng.random() < 0.02 else rooms // 5
        rows.append([f"{rng.uniform(-124, -114):.2f}", f"{rng.uniform(32, 42):.2f}", rng.integers(1, 52), rooms])
        rows[-1] += [bedrooms, f"{income:.4f}", value, place]
    return rows


HOUSING = ("longitude", "latitude", "age", "total_rooms", "total_bedrooms", "median_income", "median_house_value")


def test_housing_values_are_learned_as_numbers(trained, rng):
    write_table("housing.csv", housing_rows(rng, 600), [*HOUSING, "ocean_proximity"])
    result = trained("housing.csv", "--label", "median_house_value", "--loss", "mse", "--lr", "0.01", "-e", "40")
    assert (
        result.values["test_errors"]["median_house_value"]
        < 0.3 * result.values["baseline_errors"]["median_house_value"]
    )


def test_housing_values_as_classes_are_refused_with_the_remedy(refused, rng):
    write_table("housing.csv", housing_rows(rng, 600), [*HOUSING, "ocean_proximity"])
    assert "--loss mse" in refused("housing.csv", "--label", "median_house_value")


def prices(rng):
    """Return rows of price, area and rooms, where the area decides the price."""
    area = rng.integers(40, 300, 1500)
    price = (area * 21000 + rng.integers(-90000, 90000, 1500)) // 50 * 50
    return list(zip(price, area, rng.integers(1, 9, 1500), strict=True))


def test_prices_are_refused_as_classes_and_learned_as_numbers(trained, refused, rng):
    write_table("prices.csv", prices(rng), ["price", "area", "rooms"])
    assert "--loss mse" in refused("prices.csv", "--label", "price")
    result = trained("prices.csv", "--label", "price", "--loss", "mse", "--lr", "0.01", "-e", "3")
    assert result.values["test_errors"]["price"] < 0.3 * result.values["baseline_errors"]["price"]


@pytest.mark.parametrize("shuffled", [False, True])
def test_row_numbers_written_by_pandas_are_left_out(trained, rng, shuffled):
    order = rng.permutation(300) if shuffled else range(300)
    rows = [[i, *rng.normal(0, 1, 4), i // 100] for i in order]
    write_table("index.csv", rows, ["Unnamed: 0" if shuffled else "", *"abcd", "label"])
    result = trained("index.csv", "-e", "30")
    assert "300 rows of 4 features" in result.said
    assert result.values["test_accuracy"] < 0.6  # the features are noise; the row number alone tells the label


TITANIC = (
    "PassengerId", "Survived", "Pclass", "Name", "Sex", "Age", "SibSp", "Parch", "Ticket", "Fare", "Cabin", "Embarked",
)  # fmt: skip


def titanic_rows(rng, count, first=1):
    """Return rows like those of Titanic: names with commas, a fifth of the ages and most cabins missing."""
    rows = []
    for i in range(first, first + count):
        sex, ship_class = ["male", "female"][rng.integers(2)], rng.integers(1, 4)
        survived = int(rng.random() < (0.9 if sex == "female" else 0.1))
        age = "" if rng.random() < 0.2 else rng.integers(1, 80)
        cabin = f"{'ABCDE'[rng.integers(5)]}{rng.integers(1, 120)}" if rng.random() < 0.2 else ""
        name = f'"Name{i}, {"Mr." if sex == "male" else "Mrs."} Somebody (""Nick"")"'
        rows.append([i, survived, ship_class, name, sex, age, 0, rng.integers(3), f"A/5 {rng.integers(10**5)}"])
        rows[-1] += [f"{rng.uniform(5, 90):.4f}", cabin, "SCQ"[rng.integers(3)]]
    return rows


def test_titanic_learns_survived_and_leaves_names_and_numbers_of_passengers_out(trained, rng):
    write_table("titanic.csv", titanic_rows(rng, 500), TITANIC)
    result = trained("titanic.csv", "--label", "Survived", "-e", "20")
    assert result.values["test_accuracy"] > 0.8
    for column in ("PassengerId", "Name"):
        assert column in result.said


def test_titanic_folder_of_kaggle_gives_a_submission(trained, answered, rng):
    write_table("titanic/train.csv", titanic_rows(rng, 400), TITANIC)
    rows = titanic_rows(rng, 50, first=401)
    write_table("titanic/test.csv", [[row[0], *row[2:]] for row in rows], [TITANIC[0], *TITANIC[2:]])
    write_table("titanic/gender_submission.csv", [row[:2] for row in rows], TITANIC[:2])
    assert "the only column that test.csv lacks" in trained("titanic", "--id", "PassengerId", "-e", "20").said
    header, *answers = answered("titanic/test.csv", "--columns", "PassengerId,Survived")
    assert header == ["PassengerId", "Survived"]
    assert [passenger for passenger, _ in answers] == [str(row[0]) for row in rows]
    right = [survived == str(int(row[4] == "female")) for (_, survived), row in zip(answers, rows, strict=True)]
    assert np.mean(right) > 0.9


def test_iris_data_has_150_rows_and_three_classes(trained):
    iris = load_iris()
    rows = [[*x, f"Iris-{iris.target_names[y]}"] for x, y in zip(iris.data, iris.target, strict=True)]
    write_table("iris.data", rows, end="\r\n", tail="\r\n\r\n")
    result = trained("iris.data", "-e", "30")
    assert "150 rows of 4 features" in result.said
    assert result.values["classes"] == ["Iris-setosa", "Iris-versicolor", "Iris-virginica"]
    assert result.values["test_accuracy"] > 0.9


def test_wdbc_data_leaves_the_number_of_the_patient_out(trained, rng):
    cancer = load_breast_cancer()
    numbers = rng.choice(10**8, len(cancer.data), replace=False)
    rows = [["MB"[y], *x] for x, y in zip(cancer.data, cancer.target, strict=True)]
    write_table("wdbc.data", [[number, *row] for number, row in zip(numbers, rows, strict=True)])
    write_table("without.data", rows)
    accuracies = []
    for name, label in (("wdbc.data", 2), ("without.data", 1)):
        result = trained(name, "-e", "20", "--name", name.removesuffix(".data"))
        assert f"the label is column {label}" in result.said
        assert result.values["classes"] == ["B", "M"]
        accuracies.append(result.values["test_accuracy"])
    assert min(accuracies) > 0.9
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.02)


@pytest.fixture(scope="module")
def mnist():
    """Return 900 test digits of MNIST (900, 28, 28) and their labels."""
    digits = load_dataset("mnist")
    return digits.x_test[:900].reshape(-1, 28, 28), digits.y_test[:900]


def test_digits_folder_of_kaggle_gives_a_submission(trained, answered, mnist):
    pixels, labels = mnist
    rows, names = pixels.reshape(900, -1).tolist(), [f"pixel{i}" for i in range(784)]
    labelled = [[label, *row] for row, label in zip(rows[:800], labels, strict=False)]
    write_table("digits/train.csv", labelled, ["label", *names])
    write_table("digits/test.csv", rows[800:], names)
    write_table("digits/sample_submission.csv", [[i + 1, 0] for i in range(100)], ["ImageId", "Label"])
    assert "pictures of 28x28" in trained("digits", "-e", "8").said
    header, *answers = answered("digits/test.csv", "--columns", "ImageId,Label")
    assert header == ["ImageId", "Label"]
    assert [int(image) for image, _ in answers] == list(range(1, 101))
    assert np.mean([int(digit) == label for (_, digit), label in zip(answers, labels[800:], strict=True)]) > 0.7


def test_emnist_csv_is_turned_upright(trained, run, mnist):
    pixels, labels = mnist
    rows = np.column_stack([labels, pixels.transpose(0, 2, 1).reshape(900, -1)]).tolist()
    write_table("emnist/emnist-digits-train.csv", rows[:700])
    write_table("emnist/emnist-digits-test.csv", rows[700:])
    result = trained("emnist", "-e", "8")
    assert "upright" in result.said
    np.savez("upright.npz", x=pixels[700:], y=labels[700:])
    upright = run(evaluate, "run", "--data", "upright.npz").values["test_accuracy"]
    assert upright == result.values["test_accuracy"] > 0.7


LOGGER = ["time", *(f"ch{i}" for i in range(6)), "state"]


def logger_rows(rng, count=300):
    """Return rows of a logger: seconds since 1970, six channels, and the state, which is that of the loudest pair."""
    state = rng.integers(0, 3, count)
    channels = rng.integers(0, 60, (count, 3, 2))
    channels[np.arange(count), state] = 250
    return [[1767225600 + i, *row.ravel(), "abc"[k]] for i, (row, k) in enumerate(zip(channels, state, strict=True))]


def assert_learns_states(result, rows=300):
    assert f"{rows} rows" in result.said
    assert result.values["classes"] == ["a", "b", "c"]
    assert result.values["test_accuracy"] > 0.9


def test_logger_remarks_above_the_header_are_skipped(trained, rng):
    remarks = ["# Logger 7\n# started 27-11-2026 10:15\n\n" + ",".join(LOGGER)]
    write_table("log.csv", logger_rows(rng), remarks)
    assert_learns_states(trained("log.csv", "-e", "10"))


def test_logger_units_below_the_header_are_named_by_their_line(refused, rng):
    write_table("log.csv", [["s", *["mV"] * 6, ""], *logger_rows(rng)], LOGGER)
    assert "line 2" in refused("log.csv")


def test_logger_days_glued_together_are_refused_at_the_second_header(refused, rng):
    rows = logger_rows(rng)
    write_table("log.csv", [*rows[:150], LOGGER, *rows[150:]], LOGGER)
    assert "line 152" in refused("log.csv")


def test_logger_dates_become_features(trained, rng):
    rows = [[f"2026-11-27 10:{i // 60:02d}:{i % 60:02d}", *row[1:]] for i, row in enumerate(logger_rows(rng))]
    write_table("log.csv", rows, LOGGER)
    assert_learns_states(trained("log.csv", "-e", "10"))


def test_logger_thousands_are_never_read_as_other_numbers(run, rng):
    rows = [[row[0], f'"{row[1] * 10:,}.5"', *row[2:]] for row in logger_rows(rng)]
    write_table("log.csv", rows, LOGGER)
    result = run(train, "--data", "log.csv", *QUICK, "-e", "10")
    assert result.code == 3
    assert "thousands" in result.said
