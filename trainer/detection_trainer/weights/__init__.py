"""Sources of weights, restoring from them, and continuing a run."""
