"""Train a dense network: python train.py [--device cuda] [--recipe NAME|FILE] [options]."""

from lagvis.cli.startup import run

if __name__ == "__main__":
    run("train")
