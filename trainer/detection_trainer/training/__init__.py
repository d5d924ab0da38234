"""One training step, its optimizer and its schedule, and the choice of where a run starts."""
