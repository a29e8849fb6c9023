"""Readers of images: files, class folders, MNIST-style preparation."""
