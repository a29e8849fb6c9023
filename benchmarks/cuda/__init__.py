"""Measurements of a CUDA device through CuPy; `python -m benchmarks.cuda_costs` runs them."""
