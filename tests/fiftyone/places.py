"""Places for media: S3, GCS, a web server, Azure where Azurite can run, and a local directory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.servers.azurite import AzureServer, missing
from tests.servers.gcs import GCSServer
from tests.servers.http_server import HTTPServer
from tests.servers.seaweedfs import S3Server

REMOTE = ("s3", "gs", "http")
# Those that tests go through one by one.
EVERY = (*REMOTE, "az")
# Those that can be listed, written and signed for.
STORES = ("s3", "gs", "az")


@dataclass
class Places:
    """Places that hold objects under the same keys.

    Attributes:
        directory: the local one.
        azure: the account, and a container of it.
        contents: everything that was put, by its path as a sample has it.
        names: the places that `mixed` takes turns in.
    """

    s3_server: S3Server
    s3_bucket: str
    gcs_server: GCSServer
    gcs_bucket: str
    http_server: HTTPServer
    directory: Path
    azure: tuple[AzureServer, str] | None = None
    contents: dict[str, bytes] = field(default_factory=dict)
    names: tuple[str, ...] = (*REMOTE, "local")

    def root(self, place: str) -> str:
        """The prefix of all paths in a place; ends with a slash."""
        if place == "az":
            return f"az://{self._container[1]}/"
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
        elif place == "az":
            server, container = self._container
            path = server.put(container, key, body)
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

    def written(self, place: str, prefix: str) -> dict[str, bytes]:
        """Every object of a store whose key begins so, by its key without that prefix."""
        if place == "s3":
            client, bucket = self.s3_server.client, self.s3_bucket
            listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
            found = {
                item["Key"]: client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                for item in listed
            }
        elif place == "gs":
            found = self.gcs_server.read_all(self.gcs_bucket, prefix)
        else:
            server, container = self._container
            blobs = server.client.get_container_client(container)
            found = {
                name: blobs.download_blob(name).readall()
                for name in blobs.list_blob_names(name_starts_with=prefix)
            }
        return {key.removeprefix(prefix): body for key, body in found.items()}

    @property
    def _container(self) -> tuple[AzureServer, str]:
        if self.azure is None:
            pytest.skip(str(missing()))
        return self.azure

    def place_of(self, path: str) -> str:
        """The name of the place that a path leads to."""
        there = ("local", *(EVERY if self.azure else REMOTE))
        return next(name for name in there if path.startswith(self.root(name)))
