"""What demo, tests, benchmarks and chaos share; it is not part of the product.

- `site`: a cluster with the operator and an S3 server in it, for the demo and end-to-end tests.
- `simulation`: nodes, tokens and many connections where thousands of pods are only simulated.
- `faults`: what makes a real API server or a process's clock fail.
- `processes`: programs that run on this machine, beside a cluster or without one.
- `samples`: small trainings and datasets.
"""
