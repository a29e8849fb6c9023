"""Run `python -m backends` from a checkout, or `python -m lagvis.backends`: the same as `lagvis backends`."""

from lagvis.cli.startup import run

if __name__ == "__main__":
    run("backends")
