"""A local S3 server with photographs for the examples of the documentation: ``make demo-server``.

It runs until Ctrl-C, and has 60 photographs in the bucket ``photos``: ``s3://photos/chelsea/0000.jpg`` and so
on. On stdout it prints the ``export`` lines that a shell needs. With ``--azure``, Azurite, which
``scripts/azurite`` installs, has the same photographs at ``az://photos/``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
import threading
from pathlib import Path

from photos import photographs

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.servers.azurite import azurite, missing
from tests.servers.seaweedfs import seaweedfs

BUCKET = "photos"
COUNT = 60


def main() -> int:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(description="Serves photographs until Ctrl-C.")
    parser.add_argument("--azure", action="store_true", help="serve them from Azurite, too")
    wanted = parser.parse_args()
    if wanted.azure and (reason := missing()):
        parser.error(reason)
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with contextlib.ExitStack() as servers:
        s3 = servers.enter_context(seaweedfs())
        s3.create_bucket(BUCKET)
        environment = s3.environment()
        azure = servers.enter_context(azurite("forebaydemo")) if wanted.azure else None
        if azure:
            azure.create_container(BUCKET)
            environment |= azure.environment()
        for name, body in photographs(COUNT):
            key = name.removeprefix(f"{BUCKET}/")
            s3.put(BUCKET, key, body, ContentType="image/jpeg")
            if azure:
                azure.put(BUCKET, key, body, content_type="image/jpeg")
        for name, value in environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}{os.pathsep}$PATH", flush=True)
        say(f"\n{COUNT} photographs are in s3://{BUCKET}/, as s3://{BUCKET}/chelsea/0000.jpg.")
        if azure:
            say(f"The same are in az://{BUCKET}/, as az://{BUCKET}/chelsea/0000.jpg.")
        say("Paste the lines above into another shell, and try there: forebay prefetch s3://photos/")
        say("Ctrl-C here ends the servers, and removes their files.")
        over.wait()
    return 0


def say(text: str) -> None:
    """Prints a line for the user, on stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
