"""Causes failures: a proxy before the API server, and a wrong clock."""
