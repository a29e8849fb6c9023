"""Predict with a trained network: python predict.py RUN FILE..."""

from lagvis.cli.startup import run

if __name__ == "__main__":
    run("predict")
