"""What is wrong with a cache, and what of it differs from the source."""
