"""One policy per file: each decides one question for `plan`."""
