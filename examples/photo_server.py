"""A local S3 server with photographs for the examples of the documentation: ``make demo-server``.

It runs until Ctrl-C, and has 60 photographs in the bucket ``photos``: ``s3://photos/chelsea/0000.jpg`` and so
on. On stdout it prints the ``export`` lines that a shell needs.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from pathlib import Path

from photos import photographs

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.servers.seaweedfs import seaweedfs

BUCKET = "photos"
COUNT = 60


def main() -> int:
    """Serves until it is interrupted."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with seaweedfs() as server:
        server.create_bucket(BUCKET)
        for name, body in photographs(COUNT):
            server.put(BUCKET, name.removeprefix(f"{BUCKET}/"), body, ContentType="image/jpeg")
        for name, value in server.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}{os.pathsep}$PATH", flush=True)
        say(f"\n{COUNT} photographs are in s3://{BUCKET}/, as s3://{BUCKET}/chelsea/0000.jpg.")
        say("Paste the lines above into another shell, and try there: forebay prefetch s3://photos/")
        say("Ctrl-C here ends the server, and removes its files.")
        over.wait()
    return 0


def say(text: str) -> None:
    """Prints a line for the user, on stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
