"""One policy a file: each judges one question for `plan`."""
