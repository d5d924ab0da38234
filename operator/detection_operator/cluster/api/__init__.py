"""The Kubernetes API: the client, the kinds of objects, Events, and the Lease."""
