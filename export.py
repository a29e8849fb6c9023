"""Export a trained network: python export.py RUN --format safetensors|npz|onnx|paper|html."""

from lagvis.cli.startup import run

if __name__ == "__main__":
    run("export")
