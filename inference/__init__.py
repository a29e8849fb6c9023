"""Inference with trained networks: prediction, diagnostics, comparison of backends."""
