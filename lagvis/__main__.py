"""Run the command `lagvis`: `python -m lagvis train|evaluate|predict|export|compare|data|backends`."""

from lagvis.cli.startup import main

if __name__ == "__main__":
    main()
