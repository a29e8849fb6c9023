"""Write the predictions of predict.py to the file of --output, in the order of the input."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lagvis.cli.output_path import output_path
from lagvis.cli.prediction_rows import TOO_LARGE, predict_batches, prediction_rows
from lagvis.data.input_spec import InputSpec
from lagvis.data.messages import pluralize
from lagvis.data.predict_input import InputBatch, InputError, InputGroup, Inputs, group_files
from lagvis.errors import UsageError
from lagvis.formats.prediction_file import FILE, ROW, PredictionFile, column_names, output_format, prediction_columns
from lagvis.report.terminal.prediction_table import row_name
from lagvis.storage.atomic import replacing_export
from lagvis.storage.lookup import StoredNetwork
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.evaluation import rows_per_chunk

if TYPE_CHECKING:
    import polars as pl


PIECE_CELLS = 2**22  # of a table that are in memory at a time


@dataclass(frozen=True)
class OutputOptions:
    """What the user wants of the file.

    path           as given
    columns        names of its columns, in order; empty: the usual ones
    probabilities  whether it has a column for the probability of each class
    json           whether the predictions are wanted as JSON objects too
    """

    path: str
    columns: tuple[str, ...] = ()
    probabilities: bool = False
    json: bool = False


@dataclass
class WrittenPredictions:
    """What was written.

    path         of the file; None where no row has an answer, and nothing was written
    columns      names of its columns
    rows         number of its rows
    predictions  JSON objects of the rows, if they are wanted
    notices      on rows without an answer, one sentence each
    errors       files that could not be used, and rows that are too large for the network
    """

    path: Path | None = None
    columns: list[str] = field(default_factory=list)
    rows: int = 0
    predictions: list[dict[str, Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)


def write_predictions(
    network: StoredNetwork,
    spec: InputSpec,
    files: Sequence[str],
    options: OutputOptions,
    report: Callable[[Inputs], None],
) -> WrittenPredictions:
    """Predict the rows of files and write them to a file, which is replaced; `report` is called with what was read.

    Raise UsageError for a path or for names of columns that do not fit, CheckpointError if it cannot be written.
    """
    path = output_path(options.path, network.path)
    kind = output_format(path)
    check_is_no_input(path, files)
    with replacing_export(path) as new:
        output = PredictionOutput(network.checkpoint, spec, options, PredictionFile(kind, new.parent), len(files))
        for group in group_files(files):
            output.add(group, report)
        output.finish()
        if output.answered:
            output.file.write(new, output.ids)
            output.written.path = path
    return output.written


def check_is_no_input(path: Path, files: Sequence[str]) -> None:
    """Raise UsageError if a path is one of the files to predict from, or a file in one of the folders."""
    for file in files:
        given = Path(os.path.expanduser(file))
        inputs = [given, given / path.name] if given.is_dir() else [given]
        if path.exists() and any(one.exists() and path.samefile(one) for one in inputs):
            raise UsageError(f"--output {path} is an input ({file}), which would be lost; choose another file")


class PredictionOutput:
    """Predicts groups of files, piece by piece, and collects the rows of the file.

    file      holds the rows
    written   what is known about them
    answered  number of rows with an answer
    ids       names in the file of the columns that are copied from the input
    """

    def __init__(
        self, checkpoint: Checkpoint, spec: InputSpec, options: OutputOptions, file: PredictionFile, file_count: int
    ) -> None:
        """Begin a file without rows; `file_count` is the number of files to predict from."""
        self._spec = spec
        self.file = file
        self.written = WrittenPredictions()
        self.answered = 0
        self.ids: list[str] = []
        self._checkpoint = checkpoint
        self._options = options
        self._file_count = file_count
        self._keys: list[str] | None = None  # columns before the predictions, as the input calls them
        self._pictures = 0
        self._blank: list[InputBatch] = []

    def add(self, group: InputGroup, report: Callable[[Inputs], None]) -> None:
        """Predict the files of a group; a table that cannot be read to its end gets no rows."""
        part, answered, failed = self.file.new_part(), 0, False
        too_large: list[str] = []
        predictions: list[dict[str, Any]] = []
        rows = piece_rows(self._checkpoint.model.widths, self._spec.n_columns)
        for inputs in group.read(self._spec, rows, labels=self._options.json):
            if self._keys is None and entries_of(inputs):
                self._choose_columns(group, inputs)
            self._check_ids(inputs)
            outputs = predict_batches(self._checkpoint, inputs)
            if entries_of(inputs):
                frame, count = self._frame(inputs, outputs)
                part.append(frame)
                answered += count
            for batch, output in zip(inputs.batches, outputs, strict=True):
                too_large += unanswered_rows(batch, output)
                if self._options.json:
                    predictions += prediction_rows(self._checkpoint.model, batch, output)
            self._blank += [batch for batch in inputs.batches if batch.image and batch.image.blank]
            self._pictures += sum(batch.image is not None for batch in inputs.batches)
            self.written.errors += inputs.errors
            failed = failed or bool(inputs.errors)
            report(inputs)
        if group.is_table and failed:
            return
        self.file.extend(part)
        self.answered += answered
        self.written.predictions += predictions
        if too_large:
            more = f" and {pluralize(len(too_large) - 1, 'more row')}" if len(too_large) > 1 else ""
            self.written.errors.append(InputError(group.files[0], f"{too_large[0]}{more} {TOO_LARGE}"))

    def finish(self) -> None:
        """Count the rows, and say which pictures have no answer."""
        self.written.rows = self.file.rows
        if self._blank:
            first = self._blank[0]
            notes = ", ".join(first.image.notes) if first.image else ""
            have = "has" if len(self._blank) == 1 else "have"
            self.written.notices.append(
                f"{len(self._blank):,} of {pluralize(self._pictures, 'picture')} {have} no answer, the first is "
                f"{first.file}: {notes}."
            )

    def _choose_columns(self, group: InputGroup, inputs: Inputs) -> None:
        """Choose the columns of the file by what was read first; UsageError where the user's names do not fit."""
        ids = inputs.batches[0].ids if inputs.batches else None
        several = self._file_count > 1
        has_pictures = any(batch.image for batch in inputs.batches) or any(e.is_picture for e in inputs.errors)
        has_rows = any(batch.image is None for batch in inputs.batches)
        if ids is not None:
            self._keys = list(ids.columns)
        else:
            is_alone = len(group.files) == self._file_count
            self._keys = [FILE] * (several or has_pictures) + [ROW] * (has_rows or not is_alone)
        self.written.columns = column_names(
            self._checkpoint.model, self._keys, self._options.columns, probabilities=self._options.probabilities
        )
        self.ids = self.written.columns[: len(self._keys)] if ids is not None else []
        if group.is_table and not self.ids and (known := [column.name for column in self._spec.id_columns]):
            file = group.files[0]
            self.written.notices.append(f"{file} has no column {', '.join(known)}; its rows are numbered.")

    def _check_ids(self, inputs: Inputs) -> None:
        """Turn the batches that lack the columns which name the rows of the others into errors."""
        for batch in inputs.batches if self.ids else ():
            if batch.ids is None or batch.ids.columns != self._keys:
                message = (
                    f"{batch.file} lacks {', '.join(self._keys or ())}, which names the rows of the files before it; "
                    "add it, or predict the file alone"
                )
                inputs.errors.append(InputError(batch.file, message, batch.index))
        lacking = {error.index for error in inputs.errors}
        inputs.batches = [batch for batch in inputs.batches if batch.index not in lacking]

    def _frame(self, inputs: Inputs, outputs: list[np.ndarray]) -> "tuple[pl.DataFrame, int]":
        """Return the rows of batches, and of pictures that cannot be read; and how many have an answer."""
        import polars as pl

        model = self._checkpoint.model
        empty = np.full((1, model.widths[-1]), np.nan)
        by_index = {batch.index: output for batch, output in zip(inputs.batches, outputs, strict=True)}
        entries = entries_of(inputs)
        parts = [by_index.get(entry.index, empty) for entry in entries]
        answered = np.concatenate(
            [
                np.isfinite(part).all(axis=1) & (isinstance(entry, InputBatch) and not is_blank(entry))
                for entry, part in zip(entries, parts, strict=True)
            ]
        )
        keys: list[pl.Series] = []
        if self.ids:
            keys = pl.concat(batch.ids for batch in inputs.batches if batch.ids is not None).get_columns()
        for key in self._keys or () if not self.ids else ():
            if key == FILE:
                files = pl.Series([entry.file for entry in entries], dtype=pl.String)
                keys.append(files.gather(np.repeat(np.arange(len(parts)), [len(part) for part in parts])))
            else:
                keys.append(
                    pl.concat([row_numbers(entry, len(part)) for entry, part in zip(entries, parts, strict=True)])
                )
        columns = prediction_columns(model, np.concatenate(parts), answered, probabilities=self._options.probabilities)
        frame = pl.DataFrame(dict(zip(self.written.columns, [*keys, *columns], strict=True)))
        return frame, int(answered.sum())


def piece_rows(widths: tuple[int, ...], n_columns: int) -> int:
    """Return the rows of a table to read at a time: whole chunks of the network, so that they change no answer."""
    chunk = rows_per_chunk(widths)
    return max(1, PIECE_CELLS // (max(n_columns, *widths) * chunk)) * chunk


def entries_of(inputs: Inputs) -> list[InputBatch | InputError]:
    """Return what has rows in the file, in the order of the command line: batches, and pictures with an error."""
    entries: list[InputBatch | InputError] = [*inputs.batches, *(error for error in inputs.errors if error.is_picture)]
    return sorted(entries, key=lambda entry: entry.index)


def is_blank(batch: InputBatch) -> bool:
    """Tell whether a batch is a picture without an answer."""
    return batch.image is not None and batch.image.blank


def row_numbers(entry: InputBatch | InputError, count: int) -> "pl.Series":
    """Return the numbers, from 1, of the rows of a table or an array; null for a picture."""
    import polars as pl

    if isinstance(entry, InputError) or entry.image is not None:
        return pl.Series([None] * count, dtype=pl.Int64)
    return pl.Series(np.arange(entry.first_row + 1, entry.first_row + 1 + count))


def unanswered_rows(batch: InputBatch, outputs: np.ndarray) -> list[str]:
    """Return the names of the rows whose outputs are not finite."""
    rows = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    return [row_name(batch.file, None if batch.image else batch.first_row + int(row) + 1) for row in rows]
