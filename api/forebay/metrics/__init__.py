"""What a fleet does, for Prometheus: the names, what is read from Redis for them, and who serves them."""
