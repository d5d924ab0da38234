"""Builders of the Kubernetes objects that the operator owns: pure functions to plain dicts."""
