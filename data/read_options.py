"""Options for reading a data set, as the keys of a recipe and the command line give them."""

from dataclasses import dataclass

from lagvis.data.images.transposed import BY_NAME
from lagvis.data.tables.feature_type import AUTO


@dataclass(frozen=True)
class ReadOptions:
    """How files are read. Columns of a table are given by name or number; each text may hold several, with commas.

    label          label column, several for numbers to predict; empty: find it
    feature_type   what the feature columns hold, one of FEATURE_TYPES
    transpose      how pictures lie in arrays and tables, one of TRANSPOSE
    features       columns to learn from; empty: all that remain
    drop           columns to leave out
    category       columns to take as categories, whatever they hold
    number         columns to take as numbers, whatever they hold
    log            columns of numbers whose logarithm is learned from
    id             columns that name a row: copied to predictions, never learned from
    weight_column  column of the weights of the rows; empty: every row counts once
    sheet          sheet of a workbook; empty: the only one
    table          table of a database, or a query (select ...); empty: the only one
    multi_label    whether each label column holds two values, so that a row may have several labels
    """

    label: str = ""
    feature_type: str = AUTO
    transpose: str = BY_NAME
    features: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    weight_column: str = ""
    sheet: str = ""
    table: str = ""
    multi_label: bool = False

    @property
    def table_options(self) -> dict[str, str | tuple[str, ...]]:
        """Return the options that only tables have, and that are set, by their names."""
        keys = ("label", "sheet", "table", "weight_column", "features", "drop", "category", "number", "log", "id")
        options = {key: getattr(self, key) for key in keys}
        if self.feature_type != AUTO:
            options["feature_type"] = self.feature_type
        return {key: value for key, value in options.items() if value}
