"""The comparison of a printed output with the one that a page shows."""

import pytest

from tests.docs.pages import assert_same_output, blocks_of, commands_in, sessions_in

SHOWN = """\
784-64-10, 59,210 parameters
...
test        loss 0.1568, accuracy 97.82%, 2.7 s
run         /home/you/runs/one
"""
PRINTED = """\
784-64-10, 59,210 parameters
No GPU is used: CuPy is not installed.
epoch 1
test  loss 0.1592, accuracy 97.60%, 31.0 s
run   /tmp/other/folder
"""


def test_assert_same_output_measured_numbers_and_paths_may_differ():
    assert_same_output(PRINTED, SHOWN)


@pytest.mark.parametrize(
    ("printed", "changed"),
    [
        ("59,210", "59,211"),
        ("0.1592", "0.2592"),
        ("97.60%", "92.60%"),
        ("loss", "lost"),
        ("epoch 1\n", ""),
        ("run", ""),
    ],
)
def test_assert_same_output_other_text_or_number_fails(printed, changed):
    shown = SHOWN.replace("...", "epoch 1")
    with pytest.raises(AssertionError):
        assert_same_output(PRINTED.replace(printed, changed), shown)


def test_assert_same_output_small_difference_of_rounding_may_be_large():
    assert_same_output("difference 3.1e-11", "difference 9.45e-11")
    with pytest.raises(AssertionError):
        assert_same_output("difference 3.1e-3", "difference 9.45e-11")


def test_blocks_of_reads_marks_languages_and_what_follows_python(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- needs: torch -->\n```python\nprint(1)\n```\n\n```text\n1\n```\n\nText.\n\n```text\n2\n```\n")
    found = [(b.language, b.text, b.mark, b.line, b.follows_python) for b in blocks_of(page)]
    assert found == [
        ("python", "print(1)\n", "needs: torch", 2, False),
        ("text", "1\n", "", 6, True),
        ("text", "2\n", "", 12, False),
    ]


def test_commands_in_line_splits_and_drops_comment_and_environment():
    line = ".venv/bin/python train.py --data 'a b' && python evaluate.py RUN   # a comment"
    assert commands_in(line) == [["python", "train.py", "--data", "a b"], ["python", "evaluate.py", "RUN"]]
    assert commands_in("# a comment alone") == []


def test_sessions_in_console_block():
    assert sessions_in("$ one\na\nb\n$ two\n") == [("one", "a\nb"), ("two", "")]
