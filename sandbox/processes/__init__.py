"""Programs on this machine: the operator, an S3 server, separate Python environments."""
