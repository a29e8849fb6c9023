"""Fuzzing of everything that reads a file: `python -m fuzzing`, or scripts/fuzz."""
