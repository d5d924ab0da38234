"""The training step, its optimizer and schedule, and the choice of the initial state."""
