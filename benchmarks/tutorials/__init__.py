"""MNIST as the tutorials of other libraries train it, each a script: python FILE mnist.npz. They print the accuracy."""
