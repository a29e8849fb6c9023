"""Record one training step, then replay its calls into preallocated memory."""
