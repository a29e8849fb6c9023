"""PyTorch: a Sequential model, batches of a DataLoader, Adam, a loop over epochs and batches."""

import sys
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

data = np.load(sys.argv[1])
torch.manual_seed(0)
rows = {part: torch.tensor(data[f"x_{part}"].reshape(-1, 784), dtype=torch.float32) / 255 for part in ("train", "test")}
labels = {part: torch.tensor(data[f"y_{part}"], dtype=torch.int64) for part in ("train", "test")}
batches = DataLoader(TensorDataset(rows["train"], labels["train"]), batch_size=100, shuffle=True)
widths = (784, 64, 64, 64)
hidden = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
network = nn.Sequential(*hidden, nn.Linear(64, 10))
optimizer = torch.optim.Adam(network.parameters())
for _ in range(10):
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
with torch.no_grad():
    print((network(rows["test"]).argmax(1) == labels["test"]).float().mean().item())
