"""Forebay: prints every key below a prefix, as a program of a few lines would. Argument: PREFIX."""

import atexit
import gc
import sys

# As the command `forebay` does.
gc.set_threshold(50_000, 10, 10)
atexit.register(gc.freeze)

from forebay import MediaCacheConfig  # noqa: E402
from forebay.manifests.listing import uris_below  # noqa: E402
from forebay.sources.sources import Sources  # noqa: E402

sources = Sources(MediaCacheConfig())
for uris in uris_below(sources, [sys.argv[1]]):
    sys.stdout.write("\n".join(uris) + "\n")
