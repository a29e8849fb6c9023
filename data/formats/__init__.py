"""Readers of array files: IDX and NPZ."""
