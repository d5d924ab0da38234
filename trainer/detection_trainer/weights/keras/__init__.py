"""Reads Keras weights: files that Keras wrote, and its ImageNet downloads."""
