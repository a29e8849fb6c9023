"""Run `python -m data` from a checkout, or `python -m lagvis.data`: the same as `lagvis data`."""

from lagvis.cli.startup import run

if __name__ == "__main__":
    run("data")
