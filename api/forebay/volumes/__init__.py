"""All volumes of one Redis."""
