"""How a run reports: to the operator, to a terminal, to Prometheus and to TensorBoard."""
