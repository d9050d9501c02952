"""What a new process does to get at one file. Argument: its URI. Prints the seconds of the import."""

import sys
import time

start = time.perf_counter()
import forebay  # noqa: E402

seconds = time.perf_counter() - start
if len(sys.argv) > 1:
    with open(forebay.local_path(sys.argv[1]), "rb") as file:
        assert file.read(1)
print(seconds)
