"""Places for media: S3, GCS, a web server, and a local directory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tests.servers.gcs import GCSServer
from tests.servers.http_server import HTTPServer
from tests.servers.seaweedfs import S3Server

REMOTE = ("s3", "gs", "http")


@dataclass
class Places:
    """Four places that hold objects under the same keys.

    Attributes:
        directory: the local one.
        contents: everything that was put, by its path as a sample has it.
    """

    s3_server: S3Server
    s3_bucket: str
    gcs_server: GCSServer
    gcs_bucket: str
    http_server: HTTPServer
    directory: Path
    contents: dict[str, bytes] = field(default_factory=dict)

    names = (*REMOTE, "local")

    def root(self, place: str) -> str:
        """The prefix of all paths in a place; ends with a slash."""
        return {
            "s3": f"s3://{self.s3_bucket}/",
            "gs": f"gs://{self.gcs_bucket}/",
            "http": f"{self.http_server.endpoint}/",
            "local": f"{self.directory}/",
        }[place]

    def put(self, place: str, key: str, body: bytes) -> str:
        """Writes one object; gives its path: a URI, or a local one."""
        if place == "s3":
            path = self.s3_server.put(self.s3_bucket, key, body)
        elif place == "gs":
            path = self.gcs_server.put(self.gcs_bucket, key, body)
        elif place == "http":
            path = self.http_server.put(f"/{quote(key)}", body)
        else:
            file = self.directory / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
            path = str(file)
        self.contents[path] = body
        return path

    def put_file(self, place: str, file: Path, key: str) -> str:
        """Writes a copy of a local file."""
        return self.put(place, key, file.read_bytes())

    def put_tree(self, place: str, directory: Path, prefix: str) -> dict[str, str]:
        """Writes a copy of a local directory; gives the paths by the files' relative names."""
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        names = [file.relative_to(directory).as_posix() for file in files]
        return {
            name: self.put_file(place, file, f"{prefix}/{name}")
            for name, file in zip(names, files, strict=True)
        }

    def mixed(self, files: Mapping[str, bytes]) -> list[str]:
        """Writes files by turns to each place; gives their paths, in order."""
        turns = zip(itertools.cycle(self.names), files.items(), strict=False)
        return [self.put(place, key, body) for place, (key, body) in turns]

    def place_of(self, path: str) -> str:
        """The name of the place that a path leads to."""
        return next(name for name in self.names if path.startswith(self.root(name)))
