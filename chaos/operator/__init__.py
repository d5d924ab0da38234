"""Storms over the operator on a real control plane, and a checker that reads only the audit log."""
