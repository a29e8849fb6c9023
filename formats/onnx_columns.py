"""Inputs of an ONNX network for the columns of a table, and their encoding as a part of the graph."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.data.tables.dialect import MISSING_VALUES
from lagvis.data.tables.encoding import (
    BooleanEncoding,
    CategoryEncoding,
    ColumnEncoding,
    DateEncoding,
    NumberEncoding,
    TableEncoding,
)
from lagvis.formats.onnx_dates import encode_date
from lagvis.formats.onnx_graph import ML_DOMAIN, GraphBuilder, unique_name


@dataclass(frozen=True)
class ColumnInput:
    """Input of an ONNX network, (N, 1), for a column of a table.

    Categories are strings, where the empty one is a missing cell. All others are double, where NaN is a missing cell:
    numbers, 1 and 0 for true and false, seconds since 1970 (UTC) for dates, seconds since midnight for times of day.
    """

    name: str
    column: ColumnEncoding

    @property
    def is_text(self) -> bool:
        """Tell whether the input holds strings."""
        return isinstance(self.column, CategoryEncoding)

    @property
    def dtype(self) -> np.dtype:
        """Return the NumPy type of the input; that of objects stands for strings."""
        return np.dtype(object if self.is_text else np.float64)

    def as_json(self) -> dict[str, Any]:
        """Return what a client needs to know to fill the input; `position` is that in the training table, from 1."""
        column = self.column
        meaning: dict[str, Any] = {
            "input": self.name,
            "column": column.name,
            "position": column.position + 1,
            "kind": column.kind,
        }
        if isinstance(column, CategoryEncoding):
            meaning |= {"levels": column.levels, "other": column.other}
        elif isinstance(column, DateEncoding):
            meaning["form"] = column.form
        return meaning


def column_inputs(encoding: TableEncoding, taken: Collection[str]) -> list[ColumnInput]:
    """Return an input for each column, under its name where no other input or output has it (`taken`)."""
    names = input_names(encoding.column_names, taken)
    return [ColumnInput(name, column) for name, column in zip(names, encoding.columns, strict=True)]


def input_names(columns: Sequence[str], taken: Collection[str]) -> list[str]:
    """Return different names, not among `taken`, for columns: their own, of the same ones the first keeps it.

    The others get a number. ONNX allows no empty name, and no zero byte.
    """
    valid = [name.replace("\0", "_") or f"column {c}" for c, name in enumerate(columns, start=1)]
    used = {*taken}
    names: list[str] = []
    for name in valid:
        names.append(name if name not in used else unique_name(name, used | {*valid}))
        used.add(names[-1])
    return names


def encode_columns(graph: GraphBuilder, inputs: Sequence[ColumnInput]) -> str:
    """Add what `TableEncoding.apply` computes and return the name of the features, (N, n_features) double."""
    parts = [part for given in inputs for part in encode_column(graph, given)]
    return graph.add("Concat", *parts, name="features", axis=1)


def encode_column(graph: GraphBuilder, given: ColumnInput) -> list[str]:
    """Add the features of a column and return the names of their parts, each (N, width) double."""
    match given.column:
        case CategoryEncoding() as column:
            return [encode_category(graph, given.name, column)]
        case DateEncoding() as column:
            return encode_date(graph, given.name, column)
        case NumberEncoding() | BooleanEncoding() as column:
            return encode_number(graph, given.name, column)


def encode_number(graph: GraphBuilder, name: str, column: NumberEncoding | BooleanEncoding) -> list[str]:
    """Add the features of numbers, or of 1 and 0 for true and false, and return the names of their parts."""
    missing = graph.add("IsNaN", name, name=f"{name}/is missing")
    fill = graph.constant(f"{name}/fill", column.fill, np.float64)
    value = graph.add("Where", missing, fill, name, name=f"{name}/filled")
    if isinstance(column, NumberEncoding) and column.log_offset is not None:
        offset = graph.constant(f"{name}/offset", column.log_offset, np.float64)
        floor = graph.constant(f"{name}/floor", column.log_floor, np.float64)
        value = graph.add("Add", value, offset, name=f"{name}/with offset")
        value = graph.add("Log", graph.add("Max", value, floor, name=f"{name}/raised"), name=f"{name}/logarithm")
    return [value, graph.cast(missing, np.float64, f"{name}/missing")] if column.missing else [value]


def encode_category(graph: GraphBuilder, name: str, column: CategoryEncoding) -> str:
    """Add the features of a column of categories and return their name.

    A text becomes the index of its feature. An unknown one becomes the number of features, which is no index: it is 0
    in all features. The words that the tables of training had in missing cells are missing here too.
    """
    width = len(column.feature_names)
    index = {level: i for i, level in enumerate(column.levels)} | dict.fromkeys(column.other, len(column.levels))
    if column.missing:
        index = dict.fromkeys(missing_texts(), width - 1) | index
    code = graph.add(
        "LabelEncoder",
        name,
        name=f"{name}/index",
        domain=ML_DOMAIN,
        keys_strings=list(index),
        values_int64s=list(index.values()),
        default_int64=width,
    )
    indices = graph.constant(f"{name}/indices", np.arange(width)[None, :], np.int64)
    return graph.cast(graph.add("Equal", code, indices, name=f"{name}/is level"), np.float64, f"{name}/levels")


def missing_texts() -> Iterator[str]:
    """Yield every text that stands for a missing cell in a table, in upper and lower case."""
    for word in sorted(MISSING_VALUES):
        cases = [dict.fromkeys((letter, letter.upper())) for letter in word]
        yield from map("".join, itertools.product(*cases))
