"""Several workers: their addresses, their rendezvous, and their connection in TensorFlow."""
