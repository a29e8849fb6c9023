"""Compare the backends: python compare.py [--backends numpy,torch,jax,cupy] [--steps 10]."""

from lagvis.cli.startup import run

if __name__ == "__main__":
    run("compare")
