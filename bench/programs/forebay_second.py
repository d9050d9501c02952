"""Prefetches what is there already. Argument: a file of URIs. Prints the seconds that it took."""

import sys
import time

import forebay

with open(sys.argv[1]) as file:
    uris = file.read().split()
start = time.perf_counter()
status = forebay.download_media(uris, progress=False).status()
print(time.perf_counter() - start)
sys.exit(status.cached != len(uris))
