"""What exists in the cluster: watched, listed, parsed, cached, and gathered for one decision."""
