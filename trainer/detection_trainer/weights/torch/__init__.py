"""Reads weights that torch saved, without torch."""
