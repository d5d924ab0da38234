"""One attempt of a training, from its start to its outcome.

`attempt` is the entry. TensorFlow is imported only when there is something to compute.
"""
