"""A network as files of other programs: arrays, ONNX, the paper's program, a web page."""
