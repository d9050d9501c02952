"""Metrics for Prometheus: their names, their values from Redis, and their text format."""
