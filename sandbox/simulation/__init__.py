"""Fake nodes, tokens and fast connections: simulates thousands of pods on one machine."""
