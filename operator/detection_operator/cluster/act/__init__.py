"""What a decision changes: the status of a training and its objects."""
