"""Datasets: TFRecords with the Object Detection API's features, and what is made of them.

Only `augmentation` and `pipeline` import TensorFlow; what reads, checks and writes files does not.
"""
