"""What the operator serves over HTTP: progress reports, health and metrics."""
