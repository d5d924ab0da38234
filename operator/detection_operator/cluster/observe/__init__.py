"""What the cluster has: watched, listed, parsed, cached, and gathered for one decision."""
