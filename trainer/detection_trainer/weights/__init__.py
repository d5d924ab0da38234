"""Sources of weights and how a model takes them: restore from any source, continue from a run."""
