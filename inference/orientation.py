"""Check whether pictures from arrays and tables lie as those that a network learned from, by how sure it is of them."""

from typing import Any

import numpy as np

from lagvis.data.messages import percent
from lagvis.inference.prediction import outputs
from lagvis.option_text import option
from lagvis.run_warning import RunWarning
from lagvis.training.model import Model

MIN_ROWS, MAX_ROWS = 20, 500  # fewer say too little, more cost time
MIN_PROBABILITY, MIN_GAIN = 0.75, 0.1  # of the answers to exchanged pictures, beyond those to the pictures as read


def check_orientation(model: Model, params: Any, x: np.ndarray, name: str, *, transposed: bool) -> list[RunWarning]:
    """Return a warning if a network is clearly surer of pictures x (N, n_in) with rows and columns exchanged.

    `transposed` tells whether they are stored so and were turned upright; `name` is that of their file.
    """
    square = len(model.shape) == 2 and model.shape[0] == model.shape[1] > 1
    if not square or not model.class_names or model.multi_label or len(x) < MIN_ROWS:
        return []
    sample = x[:: -(-len(x) // MAX_ROWS)]
    exchanged = sample.reshape(-1, *model.shape).swapaxes(1, 2).reshape(len(sample), -1)
    with np.errstate(all="ignore"):
        as_read, other = (float(outputs(model, params, rows).max(axis=1).mean()) for rows in (sample, exchanged))
    if not (other >= MIN_PROBABILITY and other >= as_read + MIN_GAIN):
        return []
    seem = (
        f"they seem to stand upright in the file: {option('transpose', 'no')} leaves them so"
        if transposed
        else f"they seem to be stored transposed, as EMNIST's are: {option('transpose', 'yes')} turns them upright"
    )
    message = (
        f"{name}: the network would be surer of its pictures with rows and columns exchanged "
        f"({percent(other, digits=0)} instead of {percent(as_read, digits=0)} on average); {seem}."
    )
    figures = {"file": name, "probability": as_read, "probability_exchanged": other}
    return [RunWarning("transposed_pictures", message, figures)]
