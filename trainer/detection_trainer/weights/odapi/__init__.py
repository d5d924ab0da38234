"""Reads checkpoints of the TensorFlow Object Detection API, under the paths of our variables."""
