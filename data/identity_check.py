"""Warn of features that hold a different whole number in every row, as row numbers, identities and time stamps do."""

from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.identity import MAX_WIDE_FEATURES, MIN_WIDE_ROWS, are_distinct, find_identity, is_whole
from lagvis.data.messages import join_names, sentence_start
from lagvis.data.tables.encoding import VALUE
from lagvis.run_warning import RunWarning

SAMPLE_ROWS = 4096  # rows by which most features are ruled out


def check_identity_columns(dataset: Dataset) -> list[RunWarning]:
    """Return a warning about the features that hold a different whole number in every row, in any order."""
    x, n_features = dataset.x_train, dataset.x_train.shape[1]
    if x.dtype == np.uint8 and len(x) > 256:
        return []
    found: dict[int, str] = {}
    wide: dict[int, str] = {}
    are_numbers = (
        [kind == VALUE for kind in dataset.encoding.feature_kinds] if dataset.encoding else [True] * n_features
    )
    for i in find_candidates(x):
        if not are_numbers[i]:
            continue
        identity = find_identity(np.ascontiguousarray(x[:, i], dtype=np.float64))
        if identity is None or not are_distinct(dataset.x_test[:, i]):
            continue
        if identity.is_certain:
            found[i] = identity.order
        elif len(x) >= MIN_WIDE_ROWS:
            wide[i] = identity.order
    if len(wide) <= MAX_WIDE_FEATURES and len(wide) < n_features:
        found |= wide
    if not found:
        return []
    features: list[dict[str, Any]] = [
        {"feature": i + 1, "name": dataset.describe_feature(i), "order": found[i]} for i in sorted(found)
    ]
    holds, it, measured = ("holds", "it", "it is a measurement")
    if len(features) > 1:
        holds, it, measured = ("hold", "them", "they are measurements")
    names = join_names([feature["name"] for feature in features])
    message = (
        f"{sentence_start(names)} {holds} a different whole number in every row, as a row number, an identity "
        "or a time stamp does: what a network learns from those does not hold for new rows. Remove "
        f"{it} from the data unless {measured}."
    )
    return [RunWarning("identity_column", message, {"features": features})]


def find_candidates(x: np.ndarray) -> list[int]:
    """Return the features of rows (N, n) that hold different whole numbers in a sample of the first rows."""
    start = x[:SAMPLE_ROWS]
    few = start[:16]
    whole = np.flatnonzero((np.floor(few) == few).all(axis=0))
    return [int(i) for i in whole if is_whole(start[:, i]) and are_distinct(start[:, i])]
