"""Datasets: TFRecords with the Object Detection API's features, read, checked and batched.

Only `augmentation` and `pipeline` import TensorFlow; the other modules do not.
"""
