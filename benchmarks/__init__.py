"""Measures what docs/benchmarks.md reports: `make bench-*`."""
