"""Read data frames for a trained network: rows to predict, or rows with labels to evaluate it on."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lagvis.data.input_spec import InputSpec
from lagvis.data.range_check import fit_to_training
from lagvis.data.read_options import ReadOptions
from lagvis.data.source import Source
from lagvis.data.tables.data_frame import read_data_frame
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.hints import TableHints
from lagvis.data.tables.network_table import match_network_table, network_encoding, network_options
from lagvis.data.tables.reader import hold_out_source, upright_picture_rows
from lagvis.data.tables.unseen import check_unseen
from lagvis.run_warning import RunWarning


def features_of_frame(frame: Any, spec: InputSpec, *, name: str = "frame") -> tuple[np.ndarray, list[RunWarning]]:
    """Return the rows of a data frame as a network takes them, x (N, n_in) uint8 or float64, and warnings.

    Columns are matched by their names, in any order, where the network learned from named ones, else by position;
    others are not read. Warnings are about categories and missing cells that no training row had, and about values
    outside of the ranges of training. `name` stands for the frame in messages. Raises DataError, with the names of all
    columns that are missing, for rows that the network does not take.
    """

    def read(hints: TableHints) -> TableFrame:
        hints = replace(hints, allow_single_column=True)  # where others are missing, the error names them
        return read_data_frame(frame, network_options(spec), hints, name=name, digest=False)

    table, columns = match_network_table(read, spec, label_required=False)
    encoding = network_encoding(spec, table, columns)
    upright = upright_picture_rows(table, columns, encoding, ReadOptions(), spec)
    x, warnings = fit_to_training(upright.x.reshape(len(upright.x), -1), spec, name, table.row_location)
    return x, [*check_unseen(table, columns.features, encoding), *warnings]


def source_of_frame(frame: Any, spec: InputSpec, *, name: str = "frame") -> Source:
    """Return a data frame with labels for a network to be evaluated on: all rows are in its training part.

    The label is the column of the name in training, unless `spec` names another. DataError where there is none, and as
    for `features_of_frame`; the rows are as the network takes them.
    """
    read = partial(read_data_frame, frame, network_options(spec), name=name)
    table, columns = match_network_table(read, spec)
    options = ReadOptions(multi_label=spec.multi_label)
    source = hold_out_source(table, columns, regression=spec.is_regression, options=options, spec=spec, share=0.0)
    rows = source.x_train.reshape(len(source.x_train), -1)
    x, warnings = fit_to_training(rows, spec, name, partial(source.locate_row, "training"))
    x = x.reshape(source.x_train.shape)
    return replace(source, x_train=x, x_test=x[:1], warnings=(*source.warnings, *warnings))
