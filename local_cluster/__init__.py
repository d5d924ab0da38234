"""A real Kubernetes cluster on one Linux machine, without Docker.

`python3 -m local_cluster up` is the front door; README.md in this folder says what
it touches. Only the standard library is used, so that a machine's own Python 3.11
runs it before anything is installed.
"""
