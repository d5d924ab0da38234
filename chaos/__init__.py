"""Faults at random moments, and a judgement of what they did: `make chaos-*`."""
