"""What docs/benchmarks.md says, measured: `make bench-*`."""
