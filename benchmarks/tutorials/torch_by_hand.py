"""PyTorch by hand: all pixels in one tensor of bytes, a batch is taken by its indices, and Adam is fused."""

import sys
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from benchmarks.tutorials.epoch_report import PARTS, EpochReport

data = dict(np.load(sys.argv[1]))
torch.manual_seed(int(sys.argv[2]))
x = {part: torch.from_numpy(data[f"x_{part}"]) for part in ("train", *PARTS)}
y = {part: torch.from_numpy(data[f"y_{part}"]).long() for part in x}
hidden = [layer for widths in pairwise((784, 64, 64, 64)) for layer in (nn.Linear(*widths), nn.ReLU())]
network = nn.Sequential(*hidden, nn.Linear(64, 10))
optimizer = torch.optim.Adam(network.parameters(), fused=True)
report = EpochReport()


def accuracy(part: str) -> float:
    """Return the accuracy on a part of the data."""
    with torch.inference_mode():
        return (network(x[part].float() / 255).argmax(1) == y[part]).float().mean().item()


for _ in range(10):
    for rows in torch.randperm(len(x["train"])).split(100):
        loss = nn.functional.cross_entropy(network(x["train"][rows].float() / 255), y["train"][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    report.epoch_ended(accuracy)
