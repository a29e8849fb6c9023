"""scikit-learn: MLPClassifier with its own Adam, ten passes over the rows."""

import sys
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # ten passes are asked for
data = np.load(sys.argv[1])
x_train, x_test = data["x_train"].reshape(-1, 784) / 255.0, data["x_test"].reshape(-1, 784) / 255.0
network = MLPClassifier((64, 64, 64), batch_size=100, max_iter=10, random_state=0)
network.fit(x_train, data["y_train"])
print(network.score(x_test, data["y_test"]))
