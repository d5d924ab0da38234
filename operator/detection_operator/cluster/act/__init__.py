"""What a decision changes: the status of a training, and the objects made for it."""
