"""Runs one attempt of a training, from its start to its outcome.

`attempt` is the entry point. TensorFlow is imported only when there is something to compute.
"""
