"""Checks that need a GPU, in stages with limits: `scripts/gpu-check`. It uses the commands of Lagvis as processes."""
