"""Run `python -m data` from a checkout, or `python -m lagvis.data`: the same as `lagvis data`."""

import sys

from lagvis.cli.startup import run

if __name__ == "__main__":
    sys.argv[0] = "python -m data"  # what argparse calls the program
    run("data")
