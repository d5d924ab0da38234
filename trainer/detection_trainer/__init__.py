"""Trains object detectors with TensorFlow; of Kubernetes it uses only the contract."""
