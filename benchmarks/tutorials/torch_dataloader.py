"""PyTorch as its tutorial on MNIST ("What is torch.nn really?") writes it: a TensorDataset, a DataLoader, a loop."""

import sys
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.tutorials.epoch_report import PARTS, EpochReport

data = dict(np.load(sys.argv[1]))
torch.manual_seed(int(sys.argv[2]))
x = {part: torch.tensor(data[f"x_{part}"], dtype=torch.float32) / 255 for part in ("train", *PARTS)}
y = {part: torch.tensor(data[f"y_{part}"], dtype=torch.int64) for part in x}
batches = DataLoader(TensorDataset(x["train"], y["train"]), batch_size=100, shuffle=True)
hidden = [layer for widths in pairwise((784, 64, 64, 64)) for layer in (nn.Linear(*widths), nn.ReLU())]
network = nn.Sequential(*hidden, nn.Linear(64, 10))
optimizer = torch.optim.Adam(network.parameters())
loss_function = nn.CrossEntropyLoss()
report = EpochReport()


def accuracy(part: str) -> float:
    """Return the accuracy on a part of the data."""
    with torch.no_grad():
        return (network(x[part]).argmax(1) == y[part]).float().mean().item()


for _ in range(10):
    for inputs, labels in batches:
        optimizer.zero_grad()
        loss_function(network(inputs), labels).backward()
        optimizer.step()
    report.epoch_ended(accuracy)
