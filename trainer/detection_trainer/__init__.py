"""Trains object detectors with TensorFlow; knows nothing of Kubernetes but its contract."""
