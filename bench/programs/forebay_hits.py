"""Asks for the path of every object, several times. Arguments: a file of URIs, and how often.

Prints the seconds of each pass, and how many commands Redis got meanwhile, as JSON.
"""

import json
import random
import sys
import time

import forebay

with open(sys.argv[1]) as file:
    uris = file.read().split()
local_path = forebay.local_path
redis = forebay.media_cache.engine.open_index().connection


def commands() -> int:
    return int(redis.command("info", "stats")["total_commands_processed"])


before, seconds = commands(), []
for _ in range(int(sys.argv[2])):
    random.shuffle(uris)
    start = time.perf_counter()
    for uri in uris:
        local_path(uri)
    seconds.append(time.perf_counter() - start)
# Each INFO is a command, too.
print(json.dumps({"seconds": seconds, "commands": commands() - before - 1}))
