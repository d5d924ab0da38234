"""A cluster with the operator and an S3 server in it, and a client for its API server."""
