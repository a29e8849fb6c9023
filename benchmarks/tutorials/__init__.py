"""MNIST as the documentation of other libraries trains it: `python -m benchmarks.tutorials.NAME mnist.npz SEED`.

Each script reads one file of pixels and labels, trains 784-64-64-64-10 for ten epochs of batches of 100 with Adam at
its default rate, and prints a line of JSON for each epoch (epoch_report.py).
"""
