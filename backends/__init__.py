"""Backends: array libraries on a device, and how each runs many training steps in one call."""
