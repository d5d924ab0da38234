"""The rules of the product: pure, total, without I/O, clock or Kubernetes client."""
