"""A place to try the product in: a cluster with the operator and an S3 server in it.

The demo and the end-to-end tests stand on this; nothing of it is part of the product.
"""
