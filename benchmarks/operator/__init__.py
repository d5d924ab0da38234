"""Measures how fast the operator is, with up to ten thousand trainings on a real control plane."""
