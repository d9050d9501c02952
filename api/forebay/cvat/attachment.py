"""Attaching a bucket to CVAT: creating a cloud storage that CVAT can read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from forebay.config import MediaCacheConfig
from forebay.cvat.buckets import AZURE_PROVIDER, GCS_PROVIDER, S3_PROVIDER, CloudBucket
from forebay.cvat.cloud_storages import API_PATH, CloudStorage, check_available
from forebay.cvat.server import CvatServer
from forebay.cvat.undoing import remove_all
from forebay.errors import ConfigError, CvatError, CvatResponseError
from forebay.uri import shown

KEY_VARIABLE = "FOREBAY_CVAT_STORAGE_KEY"
SECRET_VARIABLE = "FOREBAY_CVAT_STORAGE_SECRET_KEY"


def attach(
    uri: str,
    *,
    server: CvatServer | None = None,
    key: str | None = None,
    secret_key: str | None = None,
    key_file: str | None = None,
    anonymous: bool = False,
    endpoint_url: str | None = None,
    region: str | None = None,
    name: str | None = None,
    manifests: Sequence[str] = (),
    config: MediaCacheConfig | None = None,
) -> CloudStorage:
    """Creates the cloud storage of a bucket in CVAT, and checks that CVAT can read it.

    CVAT stores the credentials, so it gets only those that are given for this purpose, here or in the
    variables ``FOREBAY_CVAT_STORAGE_KEY`` and ``FOREBAY_CVAT_STORAGE_SECRET_KEY``: those of a user who
    may read and list this bucket, and nothing else.

    Args:
        uri: the bucket.
        server: `CvatServer.connect` by default.
        key: for S3 and MinIO; for Azure, the storage account, by default the configured one.
        secret_key: the secret that belongs to it; for Azure, a SAS token of the container.
        key_file: for GCS, the path of a service account's key file.
        anonymous: whether CVAT gets no credentials, because the bucket is public.
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
    bucket = CloudBucket.of(uri, config or MediaCacheConfig())
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
    elif bucket.provider == GCS_PROVIDER:
        files = _key_file(key_file)
        body["credentials_type"] = "KEY_FILE_PATH"
    elif bucket.provider == AZURE_PROVIDER:
        body |= _sas(secret_key)
    else:
        body |= _keys(key, secret_key)
    if bucket.provider == AZURE_PROVIDER:
        body["account_name"] = _account(key, bucket)
    endpoint = endpoint_url or bucket.endpoint
    if bucket.provider == S3_PROVIDER:
        attributes = {"region": region or bucket.region, "endpoint_url": endpoint}
        body["specific_attributes"] = "&".join(
            f"{word}={quote(value, safe=':/')}" for word, value in attributes.items() if value
        )
    server = server or CvatServer.connect()
    try:
        storage = CloudStorage.of(server.post(API_PATH, body, files))
    except CvatResponseError as error:
        advice = _advice(error.detail, bucket, endpoint)
        if error.status not in {400, 404} and not advice:
            raise
        raise CvatError(
            f"CVAT at {server.masked_url} cannot use {bucket.uri}"
            f"{f' at {endpoint}' if endpoint else ''}: {error.detail.rstrip('.')}. "
            f"{advice}".rstrip()
        ) from None
    try:
        check_available(server, storage, bucket)
    except BaseException as error:
        left = remove_all(server, [("cloudstorages", storage.id)])
        if left and isinstance(error, Exception):
            raise CvatError(f"{error}. {left}") from error
        raise
    return storage


def _advice(detail: str, bucket: CloudBucket, endpoint: str | None) -> str:
    """What to do about a storage that CVAT refuses: its explanation begins with the field in question."""
    field = detail.partition(":")[0]
    if field == "credentials":
        return f"Are the credentials those of a user who may read and list {bucket.uri}?"
    if field == "resource":
        # CVAT says so, too, when nothing answers at the endpoint.
        where = " and does CVAT reach the endpoint under this address? If not: --endpoint-url"
        return f"Is the name right{f',{where}' if endpoint else '?'}"
    if field == "manifests":
        return f"Make the manifest first: forebay cvat manifest {bucket.uri}"
    return ""


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


def _sas(token: str | None) -> dict[str, Any]:
    token = (token or os.environ.get(SECRET_VARIABLE) or "").lstrip("?")
    if "sig=" not in token:
        raise ConfigError(
            f"CVAT keeps the credentials of a storage, so give it some for this purpose: set "
            f"{SECRET_VARIABLE} to a SAS token that may only read and list this container; for a public one "
            "use --anonymous"
        )
    return {"credentials_type": "ACCOUNT_NAME_TOKEN_PAIR", "session_token": token}


def _account(key: str | None, bucket: CloudBucket) -> str:
    account = key or os.environ.get(KEY_VARIABLE) or bucket.account
    if not account:
        raise ConfigError(
            f"the storage account of {bucket.uri} is not known: set AZURE_STORAGE_ACCOUNT, or {KEY_VARIABLE}"
        )
    return account


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
        raise ConfigError(f"the key file {shown(path)} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"the key file {shown(path)} is not the JSON file of a service account") from None
    return {"key_file": (os.path.basename(path), content, "application/json")}
