"""A trained network: predict, evaluate and save."""

import math
import os
import re
from typing import Any

import numpy as np

from lagvis.api.html_page import HtmlPage, user_path
from lagvis.backends.registry import select
from lagvis.data.array_source import array_source
from lagvis.data.dataset import make_dataset
from lagvis.data.predict_frame import features_of_frame, source_of_frame
from lagvis.data.range_check import fit_to_training
from lagvis.data.tables.data_frame import is_frame
from lagvis.errors import DataError, UsageError
from lagvis.inference.prediction import outputs
from lagvis.interchange import like, to_numpy
from lagvis.option_text import messages_for_python
from lagvis.run_warning import RunWarning
from lagvis.storage.atomic import write_export_file, write_export_folder
from lagvis.storage.checkpoint_file import write_checkpoint
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.evaluation import Evaluator, Metrics
from lagvis.training.model import LABEL_THRESHOLD, widths_text
from lagvis.tree import tree_map

DRAWING_HEIGHT = 800  # CSS pixels of the page in a notebook
SUFFIX = ".safetensors"
MAX_BYTE = 255
TABLE_TRUTH = ("false", "true")  # names of truth values as classes of a table


class TrainedModel:
    """A trained network, which `lagvis.train` and `lagvis.load` return.

    checkpoint    the parameters and all that is needed to use them
    widths        of the layers, from the inputs to the outputs
    class_names   the user's labels, in the order of the outputs; () for numbers
    target_names  of the numbers it predicts; () for classes
    layers        list of {"W": (n_in, n_out), "b": (n_out,)} of NumPy arrays; z = a_prev @ W + b

    It predicts on the host with NumPy, whatever trained it. Arrays of NumPy, CuPy, PyTorch and JAX are taken, and
    numbers come back in the library and on the device of what was given; class names that are text come as NumPy's.

    Rows may also be a data frame of pandas or polars. Its columns are matched by their names, in any order, where the
    network learned from named ones, and become numbers as in training; other columns are not read. `check` tells what
    the rows hold that training did not. The predictions are arrays of NumPy.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.layers = checkpoint.layers

    @property
    def widths(self) -> tuple[int, ...]:
        return self.checkpoint.model.widths

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.checkpoint.model.class_names

    @property
    def target_names(self) -> tuple[str, ...]:
        return self.checkpoint.model.target_names

    @messages_for_python()
    def predict(self, X: Any, *, check_ranges: bool = True) -> Any:  # noqa: N803
        """Return the prediction for rows X (N, ...): classes (N,), labels (N, L) of 0 and 1, or numbers (N,) or (N, n).

        Classes that are whole numbers are integers, others text. Raises DataError for rows that the network does not
        take, and with `check_ranges` for rows that are on another scale than those of training.
        """
        found, model = self._outputs(self._judged_rows(X, check_ranges)[0]), self.checkpoint.model
        if model.multi_label:
            return like((found > LABEL_THRESHOLD).astype(np.int64), X)
        if model.y_scaling is not None:
            return like(found[:, 0] if found.shape[1] == 1 else found, X)
        return like(label_values(self.class_names, of_table=model.encoding is not None)[found.argmax(axis=1)], X)

    @messages_for_python()
    def predict_proba(self, X: Any, *, check_ranges: bool = True) -> Any:  # noqa: N803
        """Return the probability of each class, or of each label, for rows X (N, ...): (N, K).

        Raises UsageError for a network that predicts numbers, and DataError as `predict` does.
        """
        if self.checkpoint.model.y_scaling is not None:
            raise UsageError("predict_proba is for classes, and this network predicts numbers; use predict")
        return like(self._outputs(self._judged_rows(X, check_ranges)[0]), X)

    @messages_for_python()
    def evaluate(self, X: Any, y: Any = None) -> Metrics:  # noqa: N803
        """Return the metrics on rows X (N, ...) with their labels or targets y: loss, accuracy, confusion, errors.

        Without y, X is a data frame that holds them in the column of the name in training.
        """
        model = self.checkpoint.model
        if y is not None:
            labels = to_numpy(y, "y")
            if labels.dtype == np.bool_ and self.class_names == TABLE_TRUTH:
                labels = np.array(TABLE_TRUTH)[labels.astype(np.int64)]
            source, _, _ = array_source(self._rows(X), labels, targets=model.targets)
        elif is_frame(X):
            source = source_of_frame(X, model.input_spec(check_ranges=False), name="X")
        else:
            raise UsageError("y is missing; give the labels or targets of X, or X as a data frame that holds them")
        dataset = make_dataset(source, model.targets, model.class_names)
        model.check(dataset)
        return evaluate_rows(self.checkpoint, dataset.x_train, dataset.y_train)

    @messages_for_python()
    def check(self, X: Any) -> list[RunWarning]:  # noqa: N803
        """Return warnings about what rows X hold that training did not: values out of range, categories, missing cells.

        Raises DataError for rows that the network does not take, and for rows that are on another scale than those of
        training.
        """
        return self._judged_rows(X, check_ranges=True)[1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a .safetensors file, which `lagvis.load` and every command read.

        The file is replaced as a whole or not at all. Raises CheckpointError if it cannot be written.
        """
        file = user_path(path)
        if file.suffix != SUFFIX:
            raise UsageError(f"{file} does not end in {SUFFIX}; name the file {file.name}{SUFFIX}")
        write_checkpoint(file, self.checkpoint)

    @messages_for_python()
    def export(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Write the network for other programs.

        path    the file, which is replaced as a whole; of the format "paper" a folder
        format  "onnx", "html" (a page to draw on), "npz", "safetensors" (arrays), or "paper" (the files of the paper's
                program); None: by the end of the path

        Raises UsageError for another format, ExportError for a network that the format cannot hold, and CheckpointError
        if the file cannot be written.

        >>> import tempfile, os
        >>> import numpy as np
        >>> import lagvis as lv
        >>> rows = np.eye(4).repeat(25, axis=0)
        >>> model = lv.train(lv.Dataset.from_arrays(rows, rows.argmax(axis=1)), epochs=2).model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.export(f"{folder}/model.npz")
        ...     sorted(np.load(f"{folder}/model.npz"))[:2]
        ['lagvis', 'params.0.W']
        """
        from lagvis.formats.export_formats import FORMATS
        from lagvis.formats.paper import is_paper_folder

        target = user_path(path)
        name = target.suffix.removeprefix(".") if format is None else format
        if not isinstance(name, str) or name not in FORMATS:
            known = ", ".join(map(repr, FORMATS))
            found = f"{os.fspath(path)!r} ends in none of them; give format=" if format is None else f"found {name!r}"
            raise UsageError(f"a network is exported as one of {known}; {found}")
        content = FORMATS[name].make(self.checkpoint)
        if isinstance(content, dict):
            write_export_folder(target, content, is_paper_folder)
        else:
            write_export_file(target, content)

    @messages_for_python()
    def draw(self) -> HtmlPage:
        """Return the page on which digits are drawn for the network, layer by layer: a notebook shows it.

        Everything is computed in the page. Raises ExportError for a network that does not classify grey images.
        """
        from lagvis.formats.export_formats import page_file

        return HtmlPage("Draw", page_file(self.checkpoint).decode(), DRAWING_HEIGHT, scripts=True)

    def _judged_rows(self, X: Any, check_ranges: bool) -> tuple[np.ndarray, list[RunWarning]]:  # noqa: N803
        """Return rows as the network takes them, and warnings; DataError for rows on another scale, unless unchecked.

        Pictures in another usual range, which the commands convert with a notice, are refused too.
        """
        spec = self.checkpoint.model.input_spec(check_ranges=check_ranges)
        if is_frame(X) and getattr(X, "shape", (1,))[0]:
            rows, warnings = features_of_frame(X, spec, name="X")
        else:
            rows = np.zeros((0, self.widths[0])) if is_frame(X) else self._rows(X)
            warnings = fit_to_training(rows, spec, "X", "row {}".format)[1] if len(rows) else []
        for warning in warnings:
            if warning.check == "input_scale":
                ranges = (warning.figures["given"], warning.figures["learned"])
                given, learned = (f"{low:g}..{high:g}" for low, high in ranges)
                raise DataError(
                    f"X holds pictures of {given}, and the network learned from pictures of {learned}; bring X to that "
                    "range, or pass check_ranges=False"
                )
        return rows, warnings

    def _outputs(self, rows: np.ndarray) -> np.ndarray:
        """Return the outputs (N, n_out) for rows as the network takes them; DataError where one is not finite."""
        if not len(rows):
            return np.zeros((0, self.widths[-1]))
        with np.errstate(over="ignore", invalid="ignore"):
            found = outputs(self.checkpoint.model, self.layers, rows)
        finite = np.isfinite(found).all(axis=1)
        if not finite.all():
            raise DataError(
                f"row {int((~finite).argmax())} of X has values so large that the outputs of the network are not "
                "finite numbers; correct or remove it"
            )
        return found

    def _rows(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return rows as the network takes them, (N, n_in) uint8 or float64; DataError for any others."""
        model = self.checkpoint.model
        if is_frame(X):
            return features_of_frame(X, model.input_spec(check_ranges=False), name="X")[0]
        x = to_numpy(X, "X")
        if x.ndim < 2 or math.prod(x.shape[1:]) != self.widths[0]:
            takes = f"(rows, {self.widths[0]})"
            if len(model.shape) > 1:
                takes += f" or (rows, {', '.join(map(str, model.shape))})"
            single = "; X[None] makes one row of it" if math.prod(x.shape) == self.widths[0] else ""
            raise DataError(f"X has the shape {x.shape}; expected {takes}{single}")
        if x.dtype.kind not in "biuf":
            raise DataError(f"X is of type {x.dtype}; expected numbers")
        rows = x.reshape(len(x), self.widths[0])
        if model.x_scaling is None:
            if rows.dtype == np.uint8:
                return rows
            if not ((rows >= 0) & (rows <= MAX_BYTE) & (rows == np.floor(rows))).all():
                raise DataError(
                    f"X is of type {rows.dtype} with values {rows.min():g} to {rows.max():g}, and the network was "
                    f"trained on bytes; expected whole numbers from 0 to {MAX_BYTE}"
                )
            return rows.astype(np.uint8)
        rows = rows.astype(np.float64)
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            raise DataError(f"row {int((~finite).argmax())} of X has a NaN or an infinity; remove or fill such values")
        return rows

    def __repr__(self) -> str:
        model = self.checkpoint.model
        what = ", ".join(map(str, self.class_names[:4] or self.target_names[:4]))
        more = ", ..." if len(self.class_names or self.target_names) > 4 else ""
        return f"TrainedModel({widths_text(self.widths)}, {model.activation}, {model.loss}: {what}{more})"


def evaluate_rows(checkpoint: Checkpoint, x: np.ndarray, y: np.ndarray) -> Metrics:
    """Return the metrics of a network on rows and targets as a data set holds them, computed by NumPy."""
    model, dtype = checkpoint.model, str(checkpoint.dtype)
    backend = select("cpu", "numpy", dtype)
    rows = tree_map(backend.as_constant, model.prepare(x, y, dtype))
    layers = tree_map(backend.asarray, checkpoint.layers)
    return Evaluator(model, backend).evaluate(layers, rows, np.arange(len(x)), details=True)


def label_values(names: tuple[str, ...], *, of_table: bool = False) -> np.ndarray:
    """Return class names as the labels that they stand for: integers, truth values, or text, (K,).

    In a network that learned from a table, `of_table`, the classes of TABLE_TRUTH are truth values.
    """
    if names == (TABLE_TRUTH if of_table else ("False", "True")):
        return np.array([False, True])
    if all(re.fullmatch(r"0|-?[1-9][0-9]{0,19}", name) for name in names):
        numbers = [int(name) for name in names]
        for dtype in (np.int64, np.uint64):
            if np.iinfo(dtype).min <= min(numbers) and max(numbers) <= np.iinfo(dtype).max:
                return np.array(numbers, dtype)
    return np.array(names)
