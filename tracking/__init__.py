"""Experiment trackers: the settings, curves, results, pictures and checkpoint of a run, for TensorBoard and MLflow."""
