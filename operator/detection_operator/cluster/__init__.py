"""All I/O with the Kubernetes API: client, cache, queue, gathering and applying."""
