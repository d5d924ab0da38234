"""What breaks things: a proxy before the API server, and a wrong clock."""
