"""Reports of a run: to the operator, a terminal, Prometheus and TensorBoard."""
