"""Evaluate a trained network: python evaluate.py RUN [--data PATH]."""

from lagvis.cli.startup import run

if __name__ == "__main__":
    run("evaluate")
