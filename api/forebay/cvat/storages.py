"""CVAT's cloud storages: the buckets that it has been told about."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from forebay.cvat import places
from forebay.cvat.errors import CvatAnswerError, CvatError
from forebay.errors import ConfigError

if TYPE_CHECKING:
    from forebay.config import MediaCacheConfig
    from forebay.cvat.server import Server

KEY_VARIABLE = "FOREBAY_CVAT_STORAGE_KEY"
SECRET_VARIABLE = "FOREBAY_CVAT_STORAGE_SECRET_KEY"

_PATH = "/api/cloudstorages"
_S3, _GCS = "AWS_S3_BUCKET", "GOOGLE_CLOUD_STORAGE"
_HERE = ("localhost", "127.", "[::1]", "host.docker.internal")


@dataclass(frozen=True)
class Bucket:
    """A bucket, as CVAT tells them apart.

    Attributes:
        uri: for instance ``s3://photos/``.
        provider: CVAT's word for its kind.
        name: its name.
        endpoint: the URL of the S3 server, as this machine reaches it; ``None`` for AWS, and for GCS.
        region: of an S3 bucket.
    """

    uri: str
    provider: str
    name: str
    endpoint: str | None = None
    region: str | None = None

    @classmethod
    def of(cls, uri: str, config: MediaCacheConfig) -> Bucket:
        """The bucket of a URI.

        Raises:
            UriError: it is in no bucket.
            ConfigError: what configures this kind of bucket cannot be used.
        """
        parsed = places.in_bucket(uri)
        root = places.bucket_root(parsed)
        if parsed.scheme == "gs":
            return cls(root, _GCS, parsed.bucket)
        from forebay.sources.aws import aws_access
        from forebay.sources.minio import minio_access

        access = (minio_access if parsed.scheme == "minio" else aws_access)(config)
        return cls(root, _S3, parsed.bucket, access.endpoint, access.region)

    @property
    def attaching(self) -> str:
        """The command that attaches it."""
        return f"forebay cvat attach {self.uri.rstrip('/')}"


@dataclass(frozen=True)
class Storage:
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
    def of(cls, answer: dict[str, Any]) -> Storage:
        """What CVAT says of a storage."""
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


def find_storage(server: Server, bucket: Bucket) -> Storage:
    """The storage of a bucket.

    Where this machine knows the S3 server by an address that is good here alone, CVAT will have another
    one for it, so any endpoint fits.

    Raises:
        CvatError: none fits, or several do.
    """
    same_name = list(_storages(server, bucket))
    fitting = [storage for storage in same_name if _fits(storage.endpoint, bucket.endpoint)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CvatError(
            f"CVAT at {server.shown} has {len(fitting)} cloud storages for {bucket.uri}: "
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
        f"CVAT at {server.shown} has no cloud storage for {bucket.uri}{where}.{others} "
        f"To attach the bucket, run: {bucket.attaching}"
    )


def get_storage(server: Server, storage_id: int, bucket: Bucket) -> Storage:
    """The storage with a number.

    Raises:
        CvatError: there is none, it is somebody else's, or it is of another bucket.
    """
    try:
        storage = Storage.of(server.get(f"{_PATH}/{storage_id}"))
    except CvatAnswerError as error:
        if error.status == 404:
            raise CvatError(
                f"CVAT at {server.shown} has no cloud storage {storage_id}. To attach the bucket, run: "
                f"{bucket.attaching}"
            ) from None
        if error.status == 403:
            raise CvatError(
                f"CVAT at {server.shown} does not let this user use cloud storage {storage_id}: it belongs "
                f"to another user or organization. Pass organization=, or attach the bucket: "
                f"{bucket.attaching}"
            ) from None
        raise
    if (storage.provider, storage.bucket) != (bucket.provider, bucket.name):
        raise CvatError(
            f"CVAT's cloud storage {storage} is the bucket {storage.bucket!r} ({storage.provider}), but the "
            f"samples lie in {bucket.uri}"
        )
    return storage


def check_available(server: Server, storage: Storage, bucket: Bucket) -> None:
    """Makes sure that CVAT itself can reach the bucket.

    Raises:
        CvatError: it cannot.
    """
    problem = None
    try:
        status = server.get(f"{_PATH}/{storage.id}/status")
    except CvatAnswerError as error:
        problem = f"says of it: {error.said}"
    else:
        if status == "FORBIDDEN":
            problem = "is refused by it: the credentials that CVAT was given are wrong, or expired"
        elif status != "AVAILABLE":
            problem = "does not find it: the bucket is gone, or its endpoint cannot be reached from CVAT"
    if problem:
        raise CvatError(
            f"CVAT's cloud storage {storage} is of {bucket.uri}, but CVAT {problem}. Delete it in CVAT and "
            f"attach the bucket again: {bucket.attaching}"
        )


def attach(
    uri: str,
    *,
    server: Server | None = None,
    key: str | None = None,
    secret_key: str | None = None,
    key_file: str | None = None,
    anonymous: bool = False,
    endpoint_url: str | None = None,
    region: str | None = None,
    name: str | None = None,
    manifests: Sequence[str] = (),
    config: MediaCacheConfig | None = None,
) -> Storage:
    """Creates the cloud storage of a bucket in CVAT, and makes sure that CVAT can read it.

    CVAT keeps the credentials. So it gets none but those that are given for this purpose, here or in the
    variables ``FOREBAY_CVAT_STORAGE_KEY`` and ``FOREBAY_CVAT_STORAGE_SECRET_KEY``: those of a user who
    may read and list this bucket, and nothing else.

    Args:
        uri: the bucket.
        server: `Server.connect` by default.
        key: for S3 and MinIO.
        secret_key: the secret that belongs to it.
        key_file: for GCS, the path of a service account's key file.
        anonymous: none: the bucket is public.
        endpoint_url: the URL of the S3 server as CVAT reaches it; by default as this machine does.
        region: of the S3 bucket; by default as this machine is configured.
        name: what CVAT shows; by default the bucket's name.
        manifests: the keys of its manifests, for CVAT's own pages.
        config: how this machine reaches the bucket; by default as configured.

    Raises:
        ConfigError: there are no credentials.
        UriError: the URI names no bucket.
        CvatError: CVAT refuses the storage, or cannot read the bucket; nothing is left behind.
    """
    from forebay.config import MediaCacheConfig
    from forebay.cvat.server import Server

    bucket = Bucket.of(uri, config or MediaCacheConfig())
    body: dict[str, Any] = {
        "provider_type": bucket.provider,
        "resource": bucket.name,
        "display_name": name or bucket.name,
    }
    if manifests:
        body["manifests"] = list(manifests)
    files = None
    if anonymous:
        body["credentials_type"] = "ANONYMOUS_ACCESS"
    elif bucket.provider == _GCS:
        files = _key_file(key_file)
        body["credentials_type"] = "KEY_FILE_PATH"
    else:
        body |= _keys(key, secret_key)
    endpoint = endpoint_url or bucket.endpoint
    if bucket.provider == _S3:
        attributes = {"region": region or bucket.region, "endpoint_url": endpoint}
        body["specific_attributes"] = "&".join(
            f"{word}={quote(value, safe=':/')}" for word, value in attributes.items() if value
        )
    server = server or Server.connect()
    try:
        storage = Storage.of(server.post(_PATH, body, files))
    except CvatAnswerError as error:
        if error.status not in {400, 404}:
            raise
        raise CvatError(
            f"CVAT at {server.shown} cannot use {bucket.uri}"
            f"{f' at {endpoint}' if endpoint else ''}: {error.said.rstrip('.')}. Are the credentials those "
            f"of the bucket, and does CVAT reach the endpoint under this address? If not: --endpoint-url"
        ) from None
    try:
        check_available(server, storage, bucket)
    except BaseException:
        server.delete(f"{_PATH}/{storage.id}")
        raise
    return storage


def _keys(key: str | None, secret_key: str | None) -> dict[str, Any]:
    key = key or os.environ.get(KEY_VARIABLE)
    secret_key = secret_key or os.environ.get(SECRET_VARIABLE)
    if not key or not secret_key:
        raise ConfigError(
            f"CVAT keeps the credentials of a storage, so give it some for this purpose: set {KEY_VARIABLE} "
            f"and {SECRET_VARIABLE} to the keys of a user who may only read this bucket; for a public bucket "
            f"use --anonymous"
        )
    return {"credentials_type": "KEY_SECRET_KEY_PAIR", "key": key, "secret_key": secret_key}


def _key_file(path: str | None) -> dict[str, Any]:
    if not path:
        raise ConfigError(
            "CVAT keeps the credentials of a storage, so give it some for this purpose: --key-file with that "
            "of a service account which may only read this bucket; for a public bucket use --anonymous"
        )
    try:
        with open(path, "rb") as file:
            content = file.read()
        json.loads(content)
    except OSError as error:
        raise ConfigError(f"the key file {path!r} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"the key file {path!r} is not the JSON file of a service account") from None
    return {"key_file": (os.path.basename(path), content, "application/json")}


def _storages(server: Server, bucket: Bucket) -> Iterator[Storage]:
    for answer in server.all(_PATH, resource=bucket.name, provider_type=bucket.provider):
        storage = Storage.of(answer)
        if (storage.provider, storage.bucket) == (bucket.provider, bucket.name):
            yield storage


def _fits(theirs: str | None, ours: str | None) -> bool:
    if ours is None or theirs is None:
        return _is_aws(theirs) and _is_aws(ours)
    return _address(theirs) == _address(ours) or _is_here(ours) or _is_here(theirs)


def _is_aws(endpoint: str | None) -> bool:
    return endpoint is None or (urlsplit(endpoint).hostname or "").endswith(".amazonaws.com")


def _is_here(endpoint: str) -> bool:
    """Whether an address is good on one machine only."""
    return urlsplit(endpoint).netloc.startswith(_HERE)


def _address(endpoint: str) -> tuple[str, str | None, int]:
    parts = urlsplit(endpoint)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
