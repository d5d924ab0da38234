"""Programs on this machine: the operator, an S3 server, Pythons of their own."""
