"""Makes a job of all samples of a manifest, as `forebay prefetch --no-wait` does; prints how many. FILE."""

import sys

import forebay
from forebay.sample_lists import parts_of

cache = forebay.MediaCache()
found = parts_of(forebay.Manifest(sys.argv[1]), cache.engine)
print(cache.engine.open_job_maker().create_listed(found).total)
