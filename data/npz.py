"""NPZ files: x_train, y_train, x_test, y_test; or x and y alone, where the split is ours."""

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from data.dataset import Source
from data.errors import DataError
from data.split import split_off

FOUR = ("x_train", "y_train", "x_test", "y_test")
TEST_SHARE = 0.2


def read_npz(path: Path) -> Source:
    """The arrays of an NPZ (never pickled objects), with `target_names` and `unit` where the file gives them.

    x and y alone are split 4 to 1, always the same way for the same file whatever the run's seed, so that runs of
    different seeds are judged by the same rows.
    """
    try:
        content = path.read_bytes()
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path} cannot be read as NPZ ({error}); write it with numpy.savez") from None
    names = tuple(str(name) for name in np.atleast_1d(arrays.get("target_names", np.array([], dtype=str))))
    unit = str(arrays.get("unit", ""))
    sha256 = {path.name: hashlib.sha256(content).hexdigest()}
    notices: tuple[str, ...] = ()
    if not all(name in arrays for name in FOUR):
        if not ("x" in arrays and "y" in arrays):
            raise DataError(f"{path} holds {', '.join(arrays) or 'nothing'}; expected {', '.join(FOUR)}, or x and y")
        x, y = arrays["x"], arrays["y"]
        if x.ndim < 1 or y.ndim < 1 or len(x) != len(y) or len(x) < 2:
            raise DataError(f"{path} holds x {x.shape} and y {y.shape}; expected equally many rows, two at least")
        count = max(1, round(TEST_SHARE * len(x)))
        _, strata = np.unique(y, return_inverse=True) if y.ndim == 1 and y.dtype.kind in "iu" else (None, y)
        train, test = split_off(np.asarray(strata), count, np.random.default_rng(0))
        arrays |= {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
        notices = (
            f"{path.name} holds no test part: {count} of its {len(x)} rows, always the same, are kept for the test.",
        )
    return Source(
        path.stem,
        x_train=arrays["x_train"],
        y_train=arrays["y_train"],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"],
        sha256=sha256,
        target_names=names,
        unit=unit,
        notices=notices,
    )
