"""Storms over the operator on a real control plane, and a checker that knows only the audit log."""
