"""Reads checkpoints of the TensorFlow Object Detection API, under the names of our variables."""
