"""Forebay: prints every key below a prefix, as a program of a few lines would. Argument: PREFIX."""

import sys

from forebay import MediaCacheConfig
from forebay.manifests.listing import uris_below
from forebay.sources.sources import Sources

sources = Sources(MediaCacheConfig())
for uris in uris_below(sources, [sys.argv[1]]):
    sys.stdout.write("\n".join(uris) + "\n")
