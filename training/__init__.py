"""A run: what to train (recipe), training itself (fit yields what happened), and what is kept of it (run folder)."""
