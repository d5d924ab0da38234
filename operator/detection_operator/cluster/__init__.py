"""All access to the Kubernetes API: client, cache, queue, gathering and applying."""
