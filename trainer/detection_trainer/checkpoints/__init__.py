"""Checkpoints: their format, how they are committed, kept and deleted, and who owns the folder.

Imports no TensorFlow.
"""
