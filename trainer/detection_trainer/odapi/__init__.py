"""The TensorFlow Object Detection API's files: its checkpoints, read and named as our own."""
