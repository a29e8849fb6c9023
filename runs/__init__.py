"""What is kept of a run: run folder, checkpoint files, resume, signals, environment."""
