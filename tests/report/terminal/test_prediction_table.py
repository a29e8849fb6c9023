import pytest

from lagvis.report.terminal.prediction_table import predictions_text

NOTE = "inverted, uneven light corrected, cropped to 170x201 of 500x600, fitted to 17x20, centred"


def answer(file, notes=""):
    fields = {"answer": "9", "probability": 0.9107, "runner_up": "4", "runner_up_probability": 0.015}
    fields |= {"values": None, "unit": None, "label": None, "labels": None}
    return {"file": file, "row": None, **fields, "notes": [notes] if notes else []}


ROWS = [answer("0.png"), answer("a/long/way/to/a/picture/of/the/number/9/photo.jpg", NOTE)]


def test_predictions_text_wide_terminal_has_notes_in_the_row():
    assert (
        predictions_text(ROWS[:1], 80)
        == predictions_text(ROWS[:1])
        == ("file   answer  probability  runner-up  probability\n0.png       9       91.07%          4        1.50%")
    )
    lines = predictions_text(ROWS).split("\n")
    assert lines[2].startswith(ROWS[1]["file"])
    assert lines[2].endswith(f"1.50%  {NOTE}")
    assert predictions_text(ROWS, 200).split("\n") == lines


@pytest.mark.parametrize("width", [80, 65])
def test_predictions_text_narrow_terminal_has_notes_below_the_row(width):
    lines = predictions_text(ROWS, width).split("\n")
    assert max(map(len, lines)) < width + 1
    assert lines[1].split() == ["0.png", "9", "91.07%", "4", "1.50%"]
    assert lines[2].endswith("/photo.jpg       9       91.07%          4        1.50%")
    assert [line.startswith("  ") for line in lines[3:]] == [True] * len(lines[3:])
    assert " ".join(" ".join(lines[3:]).split()) == NOTE


def test_predictions_text_table_wider_than_the_terminal_is_a_list():
    name = "a rather long class name"
    row = answer("a/long/way/to/a/table.csv", "inverted") | {"row": 1234, "answer": name, "label": name}
    text = predictions_text([row, row | {"row": 2, "label": None}], 40)
    first, second = text.split("\n")[:7], text.split("\n")[7:]
    assert first == [
        "a/long/way/to/a/table.csv, row 1,234",
        "  answer       a rather long class name",
        "  probability  91.07%",
        "  runner-up    4",
        "  probability  1.50%",
        "  true         a rather long class name",
        "  inverted",
    ]
    assert [line.split()[0] for line in second[1:]] == ["answer", "probability", "runner-up", "probability", "inverted"]
