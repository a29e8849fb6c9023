"""Make a data set of data frames: the same steps as for a table in a file, `reader.py`, from the cells on."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from lagvis.data.messages import list_names, shorten
from lagvis.data.read_options import ReadOptions
from lagvis.data.source import Source
from lagvis.data.tables.columns import columns_for_training
from lagvis.data.tables.data_frame import column_names, read_data_frame
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.hints import TableHints
from lagvis.data.tables.reader import check_columns, hold_out_source, is_unlabelled, split_source
from lagvis.errors import DataError

TEST_FRAME = "test_frame"  # its name in messages


def read_source(
    frame: Any, test_frame: Any, *, regression: bool, options: ReadOptions, test: float, name: str
) -> Source:
    """Return a data frame as the source of a data set; `name` stands for it in messages.

    test        share of the rows that are held out, below 1; 0: there is no test part
    test_frame  with the rows of the test part; None: there is no such frame
    Raises DataError for frames that cannot be learned from.
    """
    table = read_data_frame(frame, options, name=name)
    if test_frame is None:
        columns = columns_for_training(table, options, regression)
        check_columns(table, columns, options, regression)
        return hold_out_source(table, columns, regression=regression, options=options, share=test)
    read_test = partial(read_data_frame, test_frame, options, name=TEST_FRAME)
    second = read_test(TableHints(training=table))
    columns = columns_for_training(table, options, regression, second)
    check_columns(table, columns, options, regression)
    if is_unlabelled(second, table, columns):
        raise unlabelled_error(second, [table.names[c] for c in columns.labels])
    source = split_source(table, second, columns, None, read_test, regression=regression, options=options)
    return replace(source, name=name)


def unlabelled_error(test: TableFrame, labels: Sequence[str]) -> DataError:
    """Return the error for a test frame that has no label."""
    return DataError(
        f"{test.name} has no label in {list_names([repr(label) for label in labels])}, by which a test part is judged; "
        "give rows with labels, or leave it out and hold rows of the frame out with test=0.2"
    )


def column_options(frame: Any, **given: Any) -> dict[str, Any]:
    """Return options that name columns as ReadOptions has them: `label` and `weight_column` as text, others as tuples.

    Each is given as one name or as several; empty, or None, for none. A name need not be text, as the numbers of the
    columns of a bare array. DataError for a number that names no column of the frame.
    """
    options: dict[str, Any] = {}
    for key, value in given.items():
        single = isinstance(value, str) or getattr(value, "ndim", 1) == 0 or not isinstance(value, Iterable)
        given_names = [] if value is None else [value] if single else value
        names = [column_name(frame, key, name) for name in given_names]
        if key not in ("label", "weight_column"):
            options[key] = tuple(names)
        elif len(names) > 1 and (joint := [name for name in names if "," in name]):
            raise DataError(
                f"{key} has several columns, and the name {shorten(joint[0])!r} of one has a comma; rename that column"
            )
        else:
            options[key] = ",".join(names)
    return options


def column_name(frame: Any, key: str, name: object) -> str:
    """Return the name of a column as text; DataError for what is neither text nor a name in the frame."""
    known = column_names(frame)
    if not isinstance(name, str) and not (isinstance(name, Hashable) and name in known):
        listed = list_names([str(text) for text in known])
        raise DataError(f"{key} has {shorten(repr(name))}, which names no column; the frame has {listed}")
    return str(name)
