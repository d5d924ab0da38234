"""Attacks on the operator, for tests and benchmarks; each is bounded in number and time."""
