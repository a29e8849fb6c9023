"""Keras: a Sequential model, compile and fit with Adam; KERAS_BACKEND in the environment names the backend."""

import sys
from typing import Any

import keras
import numpy as np

from benchmarks.tutorials.epoch_report import PARTS, EpochReport

data = dict(np.load(sys.argv[1]))
x = {part: data[f"x_{part}"].astype("float32") / 255 for part in ("train", *PARTS)}
keras.utils.set_random_seed(int(sys.argv[2]))
hidden = [keras.layers.Dense(64, activation="relu") for _ in range(3)]
network = keras.Sequential([keras.layers.Input((784,)), *hidden, keras.layers.Dense(10, activation="softmax")])
network.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
report = EpochReport()


def epoch_ended(epoch: int, logs: dict[str, Any]) -> None:
    """Report an epoch, when its last step has been computed."""
    float(logs["loss"])
    report.epoch_ended(lambda part: network.evaluate(x[part], data[f"y_{part}"], verbose=0)[1])


network.fit(
    x["train"], data["y_train"], batch_size=100, epochs=10, verbose=0,
    callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=epoch_ended)],
)  # fmt: skip
