"""Reads parts of one large object, and prints what that took as JSON.

Arguments: WHAT HOW PLACE SEED COUNT. WHAT is ``frames`` (of a video, at random places), ``random`` (64 KiB
each) or ``sequential`` (1 MiB each, all of it). HOW is ``file`` (PLACE is a path), ``forebay`` (a URI) or
``fsspec`` (a URL). What is imported and opened before, the cache's embedded index included, does not count;
nor do the connections, which ``warm.bin`` beside the object opens.
"""

import hashlib
import io
import json
import os
import random
import sys
import time

what, how, place, seed, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
if what == "frames":
    import av
if how == "forebay":
    import forebay

    forebay.open(place.rpartition("/")[0] + "/warm.bin").close()
if how == "fsspec":
    import fsspec

    there = fsspec.filesystem(
        "blockcache",
        target_protocol="http",
        cache_storage=os.environ["BENCH_FSSPEC_CACHE"],
        check_files=False,
    )
    there.open(place.rpartition("/")[0] + "/warm.bin").close()

READ = 64 << 10
chosen = random.Random(seed)


def opened():
    if how == "forebay":
        return forebay.open(place, whole=False)
    if how == "fsspec":
        return there.open(place, block_size=1 << 20)
    return open(place, "rb")


def frames(file):
    digest = hashlib.md5()
    with av.open(file) as container:
        stream = container.streams.video[0]
        for _ in range(count):
            wanted = int(chosen.random() * 0.99 * stream.duration)
            container.seek(wanted, stream=stream)
            for frame in container.decode(stream):
                if frame.pts >= wanted:
                    digest.update(bytes(frame.planes[0])[:4096])
                    break
    return digest.hexdigest()


def at_random(file):
    digest, size = hashlib.md5(), file.seek(0, io.SEEK_END)
    for _ in range(count):
        file.seek(chosen.randrange(size - READ))
        digest.update(file.read(READ))
    return digest.hexdigest()


def sequential(file):
    size = 0
    while piece := file.read(1 << 20):
        size += len(piece)
    return size


began = time.perf_counter()
file = opened()
first = 0.0
if what == "sequential":
    file.read(1)
    first = time.perf_counter() - began
    file.seek(0)
found = {"frames": frames, "random": at_random, "sequential": sequential}[what](file)
took = time.perf_counter() - began
file.close()
closed = time.perf_counter() - began - took
print(json.dumps({"seconds": took, "first": first, "closing": closed, "found": found}))
