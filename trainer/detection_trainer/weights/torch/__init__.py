"""Reads weights that torch saved; needs no torch."""
