"""Keras on JAX: a Sequential model, compile and fit with Adam."""

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np

data = np.load(sys.argv[1])
x_train, x_test = (data[name].reshape(-1, 784).astype("float32") / 255 for name in ("x_train", "x_test"))
keras.utils.set_random_seed(0)
hidden = [keras.layers.Dense(64, activation="relu") for _ in range(3)]
network = keras.Sequential([keras.layers.Input((784,)), *hidden, keras.layers.Dense(10, activation="softmax")])
network.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
network.fit(x_train, data["y_train"], batch_size=100, epochs=10, verbose=0)
print(network.evaluate(x_test, data["y_test"], verbose=0)[1])
