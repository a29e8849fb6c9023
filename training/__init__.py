"""Training: the recipe (settings), the plan (batches), the loop that yields events, checkpoints, evaluation."""
