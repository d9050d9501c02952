"""Prefetch requests: their records, who runs them, and how they are followed."""
