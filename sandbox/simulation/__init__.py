"""Fake nodes, tokens and fast connections: thousands of pods on one machine."""
