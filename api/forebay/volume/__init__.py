"""One cache directory and what keeps it and its index in step."""
