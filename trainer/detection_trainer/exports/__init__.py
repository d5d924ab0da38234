"""Exports of a checkpoint for other programs."""
