"""Run `python -m report` from a checkout, or `python -m lagvis.report`: the same as `lagvis report`."""

from lagvis.cli.startup import run

if __name__ == "__main__":
    run("report")
