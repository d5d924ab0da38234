"""What operator and trainer agree on: the only part of this package the operator imports.

Nothing in here imports TensorFlow, Keras or a storage client.
"""
