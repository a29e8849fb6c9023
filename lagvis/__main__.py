"""Run the command `lagvis`: `python -m lagvis train|evaluate|predict|export|report|compare|data|backends`."""

from lagvis.cli.startup import main

if __name__ == "__main__":
    main()
