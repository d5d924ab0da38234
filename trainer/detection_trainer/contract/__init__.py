"""Rules and data formats that operator and trainer share; the operator imports nothing else here.

It imports neither TensorFlow nor Keras nor a storage client.
"""
