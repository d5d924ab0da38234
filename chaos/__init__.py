"""Faults at random moments, and a judgement of their effects: `make chaos-*`."""
