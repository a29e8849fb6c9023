"""Read the rows that a trained network is to predict: pictures, tables, NPZ and IDX files."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lagvis.data.detect import IDX_FILE, NPY, NPZ, PICTURE, TABLE, file_format
from lagvis.data.formats.idx import read_idx
from lagvis.data.formats.npy import read_npy_file
from lagvis.data.formats.npz import read_npz_rows
from lagvis.data.images.image_folder import SUFFIXES, is_image_file, is_other_picture, looks_like_image, sorted_entries
from lagvis.data.images.image_io import MAX_IMAGE_BYTES, read_image_bytes
from lagvis.data.images.mnist_style import PreparedImage
from lagvis.data.images.prepare import check_takes_pictures, prepare_picture
from lagvis.data.images.transposed import turn_upright
from lagvis.data.input_spec import InputSpec
from lagvis.data.label_columns import encode_label_columns
from lagvis.data.labels import check_known_labels, encode_labels, encode_targets, match_final_dots
from lagvis.data.messages import list_names
from lagvis.data.range_check import PieceFit, check_backgrounds, fit_picture, fit_to_training, picture_notice
from lagvis.data.read_options import ReadOptions
from lagvis.data.source import Source
from lagvis.data.tables.columns import Columns
from lagvis.data.tables.encoding import TableEncoding
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.label_arrays import label_arrays
from lagvis.data.tables.network_table import iter_network_table, network_encoding, read_network_table
from lagvis.data.tables.reader import is_category, upright_picture_rows
from lagvis.data.tables.unseen import Unseen, check_unseen
from lagvis.errors import DataError
from lagvis.option_text import option
from lagvis.run_warning import RunWarning

if TYPE_CHECKING:
    import polars as pl

STANDARD_INPUT, STANDARD_INPUT_NAME = "-", "standard input"
MAX_LISTED_FILES = 5
EXPECTED = "expected a picture, a folder of pictures, a table, an .npz or .npy file, or IDX images"
Label = str | list[float] | None  # a class, or a number for each target or label, or None for a row without one


@dataclass(frozen=True)
class InputBatch:
    """Rows of one file, x (N, n_features) uint8 or float64: as in the file, then as the network takes them.

    file        as the user called it
    labels      one for each row; None where the file has no labels
    image       the picture as the network takes it; None for other files
    notices     what the user should know, one sentence each
    warnings    on rows that differ from those of training
    transposed  whether the file stores the pictures transposed, which stand upright here
    ids         columns that name a row, by their names in the file; None where it has none
    index       place among the batches and errors in the order of the command line
    first_row   index in the file of the first row
    """

    file: str
    x: np.ndarray
    labels: Sequence[Label] | None = None
    image: PreparedImage | None = None
    notices: tuple[str, ...] = ()
    warnings: tuple[RunWarning, ...] = ()
    transposed: bool = False
    ids: "pl.DataFrame | None" = field(default=None, compare=False)
    index: int = 0
    first_row: int = 0


@dataclass(frozen=True)
class InputError:
    """Reason why a file could not be used.

    index       place among the batches and errors in the order of the command line
    is_picture  whether it is a picture, which is a row of its own
    """

    file: str
    message: str
    index: int = 0
    is_picture: bool = False


@dataclass
class Inputs:
    """Batches of rows in the order of the command line, unreadable files, notices, and warnings on all pictures."""

    batches: list[InputBatch] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    warnings: list[RunWarning] = field(default_factory=list)

    def add(self, batch: InputBatch) -> None:
        """Append a batch that was read."""
        self.batches.append(replace(batch, index=self.count))

    @property
    def count(self) -> int:
        """Count the batches and errors."""
        return len(self.batches) + len(self.errors)


@dataclass(frozen=True)
class InputGroup:
    """A table, which is read in pieces; or other files, which are read at once."""

    files: tuple[str, ...]
    is_table: bool

    def read(self, spec: InputSpec, rows: int, *, labels: bool) -> Iterator[Inputs]:
        """Yield what the files hold, a table in pieces of `rows` rows; `labels` tells whether its labels are wanted.

        Notices and warnings about all pieces come with the last.
        """
        if self.is_table:
            yield from read_pieces(self.files[0], spec, rows, labels=labels)
        else:
            yield read_inputs(self.files, spec)


def group_files(files: Sequence[str]) -> list[InputGroup]:
    """Return files in their order as groups: each table alone, and the others between them together."""
    return [
        InputGroup((file,), is_table=True) if is_table else InputGroup(tuple(group), is_table=False)
        for is_table, group in groupby(files, is_table_file)
        for file in (group if is_table else [""])
    ]


def is_table_file(file: str) -> bool:
    """Tell whether a file is a table by its content; not for standard input, and for a file that cannot be read."""
    path = user_path(file)
    try:
        return file != STANDARD_INPUT and path.is_file() and file_format(path, file, EXPECTED) == TABLE
    except (DataError, OSError):
        return False


def user_path(file: str) -> Path:
    """Return the path of a file as the user gave it."""
    return Path(file).expanduser() if file.startswith("~/") else Path(file)


def read_inputs(files: Sequence[str], spec: InputSpec) -> Inputs:
    """Read files, folders of pictures and standard input; a file that cannot be read does not stop the others."""
    inputs = Inputs()
    for file in files:
        path = user_path(file)
        with collect_error(inputs, file, is_picture=path.suffix.lower() in SUFFIXES):
            if file == STANDARD_INPUT:
                inputs.add(read_standard_input(spec))
            elif file and path.is_dir():
                read_picture_folder(inputs, path, spec)
            else:
                inputs.add(read_file(path, file, spec))
    inputs.notices += [notice for batch in inputs.batches for notice in batch.notices]
    fit_inputs(inputs, spec)
    return inputs


def fit_inputs(inputs: Inputs, spec: InputSpec) -> None:
    """Bring the rows of every batch to what the network saw in training; a batch that cannot be becomes an error."""
    read, inputs.batches = inputs.batches, []
    for batch in read:
        with collect_error(inputs, batch.file, batch.index):
            if batch.image is None:
                x, warnings = fit_to_training(batch.x, spec, batch.file, lambda row: f"row {row + 1:,}")
            else:
                x, warnings = fit_picture(batch.x, spec), []
            inputs.batches.append(replace(batch, x=x, warnings=(*batch.warnings, *warnings)))
    pictures = [batch for batch in inputs.batches if batch.image and not batch.image.blank]
    if pictures:
        rows = np.concatenate([batch.x for batch in pictures])
        inputs.warnings += check_backgrounds(rows, [batch.file for batch in pictures], spec)
    if any(batch.image for batch in inputs.batches) and (notice := picture_notice(spec)):
        inputs.notices.append(notice)


def read_pieces(file: str, spec: InputSpec, rows: int, *, labels: bool) -> Iterator[Inputs]:
    """Yield the rows of a table in pieces; one that cannot be used ends them with an error."""
    last = Inputs()
    notices: dict[str, None] = {}
    fit = PieceFit(spec, file, lambda row: f"row {row + 1:,}")
    unseen, first_row, table = None, 0, None
    with collect_error(last, file):
        for table, columns in iter_network_table(user_path(file), spec, rows):
            encoding = network_encoding(spec, table, columns)
            unseen = unseen or Unseen(encoding)
            unseen.add(table, columns.features)
            batch = table_batch(table, columns, encoding, file, spec, labels=labels or not columns.by_name)
            notices |= dict.fromkeys(batch.notices)
            yield Inputs([replace(batch, x=fit.fit(batch.x, first_row), first_row=first_row)])
            first_row += len(batch.x)
        last.warnings += [*(unseen.warnings(table.short_name) if unseen and table else []), *fit.finish()]
    last.notices += notices
    yield last


@contextmanager
def collect_error(inputs: Inputs, file: str, index: int | None = None, *, is_picture: bool = False) -> Iterator[None]:
    """Add a DataError or OSError to the errors instead of raising it; its index is the next one, if none is given."""
    try:
        yield
    except (DataError, OSError) as error:
        message = str(error)
        if isinstance(error, OSError):
            message = f"{file} cannot be read ({error.strerror or error}); check the path and its permissions"
        inputs.errors.append(InputError(file, message, inputs.count if index is None else index, is_picture))


def read_picture_folder(inputs: Inputs, folder: Path, spec: InputSpec) -> None:
    """Read every picture of a folder, each with its own error."""
    paths, notices = pictures_in(folder)
    inputs.notices += notices
    for path in paths:
        with collect_error(inputs, str(path), is_picture=True):
            inputs.add(read_picture(path, str(path), spec))


def pictures_in(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the pictures directly in a folder, in natural order, and a notice about other files.

    Pictures of formats that are not read are among them, so that each is reported as an error.
    """
    entries = sorted_entries(folder)
    paths = [
        path
        for path in entries
        if not path.is_dir() and (looks_like_image(path) or is_image_file(path) or is_other_picture(path))
    ]
    if not paths:
        names = list_names([path.name for path in entries], MAX_LISTED_FILES) or "nothing"
        raise DataError(f"{folder} holds no picture; it holds {names}; give a folder of pictures, or files")
    read = {*paths}
    others = [path.name for path in entries if path not in read]
    return paths, [f"Not read in {folder}: {list_names(others, MAX_LISTED_FILES)}."] if others else []


def read_standard_input(spec: InputSpec) -> InputBatch:
    """Read standard input, which may hold the bytes of any file that can be read by name."""
    try:
        content = sys.stdin.buffer.read(MAX_IMAGE_BYTES + 1) if sys.stdin else b""
    except OSError as error:  # its terminal is gone, or it was opened for writing
        raise DataError(f"{STANDARD_INPUT_NAME} cannot be read ({error.strerror}); {EXPECTED}") from None
    if not content:
        raise DataError(f"{STANDARD_INPUT_NAME} is empty; {EXPECTED}")
    if len(content) > MAX_IMAGE_BYTES:
        raise DataError(f"{STANDARD_INPUT_NAME} has more than {MAX_IMAGE_BYTES:,} bytes; give a file")
    try:
        temporary = tempfile.TemporaryDirectory()  # readers of tables go through a file twice
    except OSError as error:
        raise no_copy(error) from None
    with temporary as folder:
        path = Path(folder, STANDARD_INPUT_NAME)
        try:
            path.write_bytes(content)
        except OSError as error:
            raise no_copy(error) from None
        return read_file(path, STANDARD_INPUT, spec, STANDARD_INPUT_NAME)


def no_copy(error: OSError) -> DataError:
    """Return the error of standard input that cannot be copied into the temporary folder."""
    return DataError(
        f"{STANDARD_INPUT_NAME} cannot be copied into a temporary folder ({error.strerror}); set TMPDIR to a folder "
        "that can be written, or give a file"
    )


def read_file(path: Path, file: str, spec: InputSpec, display_name: str = "") -> InputBatch:
    """Read a file in the format that its content shows, or as a picture where its name ends so.

    `file` is what the user called it; `display_name` stands for the path in messages.
    """
    name = display_name or str(path)
    if not file or not path.exists():
        raise DataError(f"{file or repr(file)} does not exist; {EXPECTED}")
    if not path.is_file():
        raise DataError(f"{name} is neither a file nor a folder; {EXPECTED}")
    kind = file_format(path, name, EXPECTED)
    if kind == PICTURE:
        return read_picture(path, file, spec, name)
    if kind in (IDX_FILE, NPY):
        x = read_idx(path, name)[0] if kind == IDX_FILE else read_npy_file(path, name)
        upright = turn_upright(x, Path(name).name, spec.transpose, path)
        rows = array_rows(upright.x, name, spec)
        return InputBatch(file, rows, notices=upright.notices, transposed=upright.was_transposed)
    if kind == NPZ:
        return read_npz_batch(path, file, spec, name)
    return read_table_batch(path, file, spec, name)


def read_picture(path: Path, file: str, spec: InputSpec, display_name: str = "") -> InputBatch:
    """Read a picture and prepare it by the mode of `spec`."""
    name = display_name or str(path)
    check_takes_pictures(name, spec)
    image = prepare_picture(read_image_bytes(path), name, spec)
    return InputBatch(file, image.pixels.reshape(1, -1), image=image)


def array_rows(x: np.ndarray, name: str, spec: InputSpec) -> np.ndarray:
    """Return an array (N, ...) as rows (N, n_features), uint8 or float64; DataError unless they have that width."""
    width = spec.n_features
    if x.ndim < 1 or x.size == 0 or x.dtype.kind not in "biuf":
        raise DataError(
            f"{name} holds an array of shape {x.shape} and type {x.dtype}; expected rows of {width} numbers"
        )
    rows = x.reshape(len(x), -1)
    if rows.shape[1] != width:
        raise DataError(f"{name} has rows of {rows.shape[1]} numbers, the network takes {width}")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise DataError(f"{name}, row {int(np.argmin(finite)) + 1} holds a NaN or an infinity; fill or remove it")
    return rows if rows.dtype == np.uint8 else rows.astype(np.float64)


def read_npz_batch(path: Path, file: str, spec: InputSpec, name: str) -> InputBatch:
    """Read the rows of an NPZ, and their labels where it has them."""
    upright, y, notices = read_npz_rows(path, name, spec.transpose)
    rows = array_rows(upright.x, name, spec)
    labels: list[Label] | None = None
    label_notices: tuple[str, ...] = ()
    if y is not None:
        labels, label_notices = network_labels(labelled_source(name, rows, y, lambda row: f"row {row + 1}"), spec)
    return InputBatch(file, rows, labels, notices=(*notices, *label_notices), transposed=upright.was_transposed)


def read_table_batch(path: Path, file: str, spec: InputSpec, name: str) -> InputBatch:
    """Read the rows of a table that holds the features alone, or the label too."""
    table, columns = read_network_table(path, spec, label_required=False, display_name=name)
    encoding = network_encoding(spec, table, columns)
    batch = table_batch(table, columns, encoding, file, spec)
    return replace(batch, warnings=tuple(check_unseen(table, columns.features, encoding)))


def table_batch(
    table: TableFrame, columns: Columns, encoding: TableEncoding, file: str, spec: InputSpec, *, labels: bool = True
) -> InputBatch:
    """Return the rows of a table, or of a piece of one, with its labels if they are wanted."""
    import polars as pl

    upright = upright_picture_rows(table, columns, encoding, ReadOptions(), spec)
    x = upright.x.reshape(len(upright.x), -1)
    label_columns = ", ".join(map(table.describe_column, columns.labels))
    notices = list(upright.notices)
    left_out = {column.name for column in spec.encoding.left_out} if spec.encoding and columns.by_name else set()
    if unused := [table.names[c] for c in columns.unused if table.names[c] not in left_out]:
        notices.append(f"{table.short_name}: not used: {list_names(unused)}.")
    if columns.labels and not columns.by_name:
        notices.append(f"{table.short_name}: the label is {label_columns} ({option('label')} names another).")
    known = np.ones(len(x), bool)
    for c in columns.labels:
        known &= table.column(c).is_not_null().to_numpy()
    labelled = np.flatnonzero(known & bool(columns.labels))
    of_training = [column.name for column in spec.id_columns]
    id_names = (
        of_training if of_training and not (spec.id or table.has_header) else [table.names[c] for c in columns.ids]
    )
    pairs = zip(columns.ids, id_names, strict=True) if columns.ids else ()
    ids = table.frame.select(pl.col(str(c)).alias(name) for c, name in pairs) if columns.ids else None
    batch = InputBatch(file, x, notices=tuple(notices), transposed=upright.was_transposed, ids=ids)
    if not labels or not len(labelled):
        return batch
    part = table.take(labelled)
    as_text = is_category(table, columns.labels, ReadOptions(), spec)
    (y,) = label_arrays([(part, columns.labels)], spec.is_regression, as_text=as_text, multi_label=spec.multi_label)
    source = labelled_source(table.name, x[labelled], y, part.row_location)
    remedy = f"leave out the labels (the label is {label_columns} unless {option('label')} names another)"
    of_rows: list[Label] = [None] * len(x)
    found, label_notices = network_labels(source, spec, remedy)
    for row, label in zip(labelled, found, strict=True):
        of_rows[row] = label
    return replace(batch, labels=of_rows, notices=(*batch.notices, *label_notices))


def labelled_source(name: str, x: np.ndarray, y: np.ndarray, where: Callable[[int], str]) -> Source:
    """Return rows and labels as a data set; `where` names a row of the file."""
    return Source(name, x, y, x, y, {}, row_location=lambda _, row: f"{name}, {where(row)}")


def network_labels(
    source: Source, spec: InputSpec, remedy: str = "leave out the labels"
) -> tuple[list[Label], tuple[str, ...]]:
    """Return the labels of the test part, of any kind, by the names that the network has, one a row, and notices."""
    x, y = source.x_test, source.y_test
    if y.ndim < 1 or len(y) != len(x):
        raise DataError(f"{source.name} holds x of {len(x):,} rows and y {y.shape}; expected a label a row, or x alone")
    if y.ndim > 1 and y.shape[1:] == (len(spec.label_names),):
        source = replace(source, label_names=spec.label_names)
    if spec.is_regression:
        numbers = encode_targets(source, "test", y)
        if numbers.shape[1] != len(spec.target_names):
            raise DataError(
                f"{source.name} has {numbers.shape[1]} targets a row, the network predicts {len(spec.target_names)}; "
                "give those, or the rows alone"
            )
        return list(numbers.tolist()), ()
    if spec.multi_label:
        columns, notices = encode_label_columns(source, spec.class_names)
        return list(columns["test"].tolist()), notices
    encoded, notice = match_final_dots(encode_labels(source, "test", y), spec.class_names)
    check_known_labels(source, "test", encoded, spec.class_names, remedy=remedy)
    return [encoded.names[i] for i in encoded.inverse], (f"{source.name}: {notice}.",) if notice else ()
