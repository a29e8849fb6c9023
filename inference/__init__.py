"""What a trained network does: prediction, diagnostics, comparison of backends."""
