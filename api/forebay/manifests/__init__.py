"""Lists of what to download: files that name URIs, and prefixes."""
