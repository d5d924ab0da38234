"""A real Kubernetes cluster on one Linux machine, without Docker.

Start with `python3 -m local_cluster up`; README.md in this folder lists what it changes on the
machine. Only the standard library is used, so that the machine's own Python 3.11 runs it before
anything is installed.
"""
