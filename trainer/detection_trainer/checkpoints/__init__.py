"""Checkpoints: format, commit, retention, and the ownership of the folder.

Imports no TensorFlow.
"""
