"""Plots of a run, drawn with matplotlib."""
