"""Files of a run: run folder, checkpoints, metrics, resume; and the signals that stop a run."""
