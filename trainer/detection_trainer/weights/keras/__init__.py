"""Reads weights of Keras: files that Keras wrote, and its ImageNet downloads."""
