"""CVAT's cloud storages: the buckets that a CVAT server can load media from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from forebay.cvat.buckets import CloudBucket, endpoint_fits
from forebay.cvat.server import CvatServer
from forebay.errors import CvatError, CvatResponseError

API_PATH = "/api/cloudstorages"


@dataclass(frozen=True)
class CloudStorage:
    """One cloud storage of a CVAT server.

    Attributes:
        id: its number.
        name: what CVAT shows.
        provider: of its bucket.
        bucket: the bucket's name.
        endpoint: the URL of the S3 server, as CVAT reaches it.
        manifests: the keys that CVAT offers to choose from.
    """

    id: int
    name: str
    provider: str
    bucket: str
    endpoint: str | None = None
    manifests: Sequence[str] = ()

    @classmethod
    def of(cls, answer: dict[str, Any]) -> CloudStorage:
        """Reads a storage from CVAT's JSON."""
        attributes = dict(parse_qsl(answer.get("specific_attributes") or ""))
        return cls(
            id=answer["id"],
            name=answer["display_name"],
            provider=answer["provider_type"],
            bucket=answer["resource"],
            endpoint=attributes.get("endpoint_url"),
            manifests=answer.get("manifests") or (),
        )

    def __str__(self) -> str:
        at = f" at {self.endpoint}" if self.endpoint else ""
        return f"{self.id} ({self.name!r}{at})"


def find_storage(server: CvatServer, bucket: CloudBucket) -> CloudStorage:
    """Finds the cloud storage of a bucket.

    When this machine reaches the S3 server by an address that is valid only here, such as localhost, CVAT
    must use another one, so any endpoint fits.

    Raises:
        CvatError: none fits, or several do.
    """
    same_name = list(_storages(server, bucket))
    fitting = [storage for storage in same_name if endpoint_fits(storage.endpoint, bucket.endpoint)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CvatError(
            f"CVAT at {server.masked_url} has {len(fitting)} cloud storages for {bucket.uri}: "
            f"{', '.join(map(str, fitting))}. Say which: cloud_storage_id={fitting[0].id}"
        )
    where = f" (S3 endpoint {bucket.endpoint})" if bucket.endpoint else ""
    others = (
        f" Of the same name, but at another endpoint, there is {', '.join(map(str, same_name))}: if that is "
        f"the same bucket, pass cloud_storage_id={same_name[0].id}."
        if same_name
        else ""
    )
    raise CvatError(
        f"CVAT at {server.masked_url} has no cloud storage for {bucket.uri}{where}.{others} "
        f"To attach the bucket, run: {bucket.attach_command}"
    )


def get_storage(server: CvatServer, storage_id: int, bucket: CloudBucket) -> CloudStorage:
    """Gets a cloud storage by its number, and checks that it is of the bucket.

    Raises:
        CvatError: there is none, it belongs to another user, or it is of another bucket.
    """
    try:
        storage = CloudStorage.of(server.get(f"{API_PATH}/{storage_id}"))
    except CvatResponseError as error:
        if error.status == 404:
            raise CvatError(
                f"CVAT at {server.masked_url} has no cloud storage {storage_id}. To attach the bucket, run: "
                f"{bucket.attach_command}"
            ) from None
        if error.status == 403:
            raise CvatError(
                f"CVAT at {server.masked_url} does not let this user use cloud storage {storage_id}: it "
                f"belongs to another user or organization. Pass organization=, or attach the bucket: "
                f"{bucket.attach_command}"
            ) from None
        raise
    if (storage.provider, storage.bucket) != (bucket.provider, bucket.name):
        raise CvatError(
            f"CVAT's cloud storage {storage} is the bucket {storage.bucket!r} ({storage.provider}), but the "
            f"samples lie in {bucket.uri}"
        )
    return storage


def check_available(server: CvatServer, storage: CloudStorage, bucket: CloudBucket) -> None:
    """Checks that CVAT can reach the bucket.

    Raises:
        CvatError: it cannot.
    """
    problem = None
    try:
        status = server.get(f"{API_PATH}/{storage.id}/status")
    except CvatResponseError as error:
        problem = f"says of it: {error.detail}"
    else:
        if status == "FORBIDDEN":
            problem = "is refused by it: the credentials that CVAT was given are wrong, or expired"
        elif status != "AVAILABLE":
            problem = "does not find it: the bucket is gone, or its endpoint cannot be reached from CVAT"
    if problem:
        raise CvatError(
            f"CVAT's cloud storage {storage} is of {bucket.uri}, but CVAT {problem}. Delete it in CVAT and "
            f"attach the bucket again: {bucket.attach_command}"
        )


def _storages(server: CvatServer, bucket: CloudBucket) -> Iterator[CloudStorage]:
    for answer in server.get_all(API_PATH, resource=bucket.name, provider_type=bucket.provider):
        storage = CloudStorage.of(answer)
        if (storage.provider, storage.bucket) == (bucket.provider, bucket.name):
            yield storage
