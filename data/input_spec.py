"""Describe what a trained network takes: the shape and type of a row, and the columns that it learned from."""

import math
from dataclasses import dataclass

from lagvis.data.feature_ranges import SIGNED_BYTE, FeatureRanges
from lagvis.data.images.transposed import BY_NAME
from lagvis.data.tables.encoding import WEIGHT, LeftOut, TableEncoding

MNIST_STYLE, RESIZE, RAW = "mnist style", "resize", "raw"  # how image files are prepared


@dataclass(frozen=True)
class InputSpec:
    """Rows that a network takes, and the labels that it knows.

    shape          of one row
    is_bytes       True for bytes (0..255), False for real numbers
    image_mode     how image files become such rows: MNIST_STYLE, RESIZE or RAW
    class_names    labels that the network knows; empty where it predicts numbers
    multi_label    whether a row may have several of them: each has a column of two values
    target_names   names of the numbers that it predicts; empty for classes
    feature_names  names of the features in training; empty where they had none
    label_names    names of the label columns in training; empty where they had none
    label_option   label column that the user names (--label); empty: find it
    recipe_label   label column of the recipe, for tables whose columns have no names
    ranges         of the features in training; None where they are not known
    check_ranges   whether rows are compared with the ranges, and pictures converted to their scale
    label_columns  columns of the labels in the table that it learned from, from 1; empty if there was none
    encoding       of the columns of the table that it learned from; None if there was none, or in an older checkpoint
    id             columns that the user names to be copied to predictions (--id); empty: those of the encoding
    sheet, table   sheet of a workbook and table of a database that the user names (--sheet, --table); empty: none
    recipe_sheet   sheet of the recipe, read in a workbook that has it; likewise recipe_table
    transpose      how pictures lie in files other than picture files, one of TRANSPOSE (data/images/transposed.py)
    """

    shape: tuple[int, ...]
    is_bytes: bool
    image_mode: str = RESIZE
    class_names: tuple[str, ...] = ()
    multi_label: bool = False
    target_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    label_option: str = ""
    recipe_label: str = ""
    ranges: FeatureRanges | None = None
    check_ranges: bool = True
    label_columns: tuple[int, ...] = ()
    encoding: TableEncoding | None = None
    id: tuple[str, ...] = ()
    sheet: str = ""
    table: str = ""
    recipe_sheet: str = ""
    recipe_table: str = ""
    transpose: str = BY_NAME

    @property
    def n_features(self) -> int:
        """Count the numbers of a row."""
        return math.prod(self.shape)

    @property
    def n_columns(self) -> int:
        """Count the columns of a table that become the features."""
        return len(self.encoding.columns) if self.encoding else self.n_features

    @property
    def takes_pictures(self) -> bool:
        """Tell whether picture files can become rows: bytes, or numbers on a known scale.

        Signed bytes may be bytes that were read as signed ones, or shifted ones.
        """
        return self.is_bytes or (self.ranges is not None and self.ranges.picture_range not in (None, SIGNED_BYTE))

    @property
    def column_names(self) -> tuple[str, ...]:
        """Return the names of the columns that become the features; empty where they had none in training."""
        return self.encoding.column_names if self.encoding and self.feature_names else self.feature_names

    @property
    def id_columns(self) -> tuple[LeftOut, ...]:
        """Return the columns of the training table that name a row."""
        return tuple(column for column in self.encoding.left_out if column.is_id) if self.encoding else ()

    @property
    def weight_columns(self) -> tuple[LeftOut, ...]:
        """Return the column of the training table that weighs the rows, if there is one; tables need not have it."""
        return tuple(column for column in self.encoding.left_out if column.cause == WEIGHT) if self.encoding else ()

    @property
    def id_names(self) -> list[str]:
        """Return the names of the columns that name a row, and are neither features nor labels."""
        named = self.id or [column.name for column in self.id_columns]
        return [name for name in named if name not in (*self.column_names, *self.target_names, *self.label_names)]

    @property
    def is_regression(self) -> bool:
        """Tell whether the network predicts numbers."""
        return bool(self.target_names)

    @property
    def label(self) -> str:
        """Return the label column that the user or the recipe names; empty: find it."""
        return self.label_option or self.recipe_label
