"""What of Google Cloud Storage is asked over the JSON API: listings; and signed URLs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from forebay.errors import ObjectNotFoundError, SourceError
from forebay.sources import failures
from forebay.sources.base import ObjectInfo
from forebay.sources.gcs_access import GCSAccess
from forebay.uri import MediaURI

#: Gets a page of the JSON API, for a URI that errors are to name.
Get = Callable[[MediaURI, str], bytes]

MAX_SIGNATURE_SECONDS = 7 * 24 * 3600
_FIELDS = "items(name,size,md5Hash,updated,contentType),prefixes,nextPageToken"


def list_objects(get: Get, access: GCSAccess, prefix: MediaURI, *, recursive: bool) -> Iterator[ObjectInfo]:
    """Every object whose key begins with the prefix's; see `forebay.sources.base.Source.list`."""
    url = f"{access.endpoint}/storage/v1/b/{quote(prefix.bucket, safe='')}/o"
    query = {"prefix": prefix.key, "fields": _FIELDS, "maxResults": "1000"}
    query |= {} if recursive else {"delimiter": "/"}
    for page in _pages(get, prefix, url, query):
        for item in page.get("items", ()):
            yield ObjectInfo(
                f"gs://{prefix.bucket}/{item['name']}",
                int(item["size"]),
                modified=_timestamp(item.get("updated")),
                content_type=item.get("contentType"),
                md5=base64.b64decode(item["md5Hash"]).hex() if "md5Hash" in item else None,
            )
        for folder in page.get("prefixes", ()):
            yield ObjectInfo(f"gs://{prefix.bucket}/{folder}")


def list_buckets(get: Get, access: GCSAccess) -> Sequence[str]:
    """The names of the buckets of the configured project.

    Raises:
        SourceError: no project is configured.
    """
    if access.project is None:
        raise SourceError(
            "gs://",
            "buckets are listed by project, and none is configured; set GOOGLE_CLOUD_PROJECT,"
            " or project in extra_client_kwargs",
        )
    query = {"project": access.project, "fields": "items(name),nextPageToken"}
    pages = _pages(get, MediaURI("", "gs", "", ""), f"{access.endpoint}/storage/v1/b", query)
    return [item["name"] for page in pages for item in page.get("items", ())]


def sign(access: GCSAccess, uri: MediaURI, url: str, *, expires_seconds: int, method: str) -> str:
    """A URL that anyone can use until it expires; see `forebay.sources.base.Source.sign`.

    Args:
        url: the object's.
    """
    from google.auth.credentials import Signing
    from google.cloud import storage

    if not 1 <= expires_seconds <= MAX_SIGNATURE_SECONDS:
        raise SourceError(
            uri.redacted, f"a signed URL can last from 1 s to 7 days, not {expires_seconds:,} s"
        )
    if method not in ("GET", "HEAD", "PUT", "DELETE"):
        raise failures.unsignable(uri, method)
    credentials = access.tokens.credentials
    if credentials is None:
        # Without credentials only public objects can be read, for which no signature is needed.
        return url
    if not isinstance(credentials, Signing):
        raise SourceError(
            uri.redacted,
            f"{access.tokens.description} cannot sign URLs; that needs a service "
            "account's key file in google_application_credentials, or impersonation of a service account",
        )
    client = storage.Client(project="none", credentials=credentials)
    signed: str = (
        client.bucket(uri.bucket)
        .blob(uri.key)
        .generate_signed_url(
            version="v4",
            method=method,
            expiration=timedelta(seconds=expires_seconds),
            api_access_endpoint=access.endpoint,
        )
    )
    return signed


def _pages(get: Get, uri: MediaURI, url: str, query: dict[str, str]) -> Iterator[Any]:
    while True:
        try:
            page = json.loads(get(uri, f"{url}?{urlencode(query)}"))
        except ObjectNotFoundError:
            # A listing of nothing is an empty one.
            raise failures.refusal(uri, 404, "NoSuchBucket") from None
        except ValueError:
            raise SourceError(uri.redacted, "the answer is not the JSON that it should be") from None
        yield page
        if "nextPageToken" not in page:
            return
        query["pageToken"] = page["nextPageToken"]


def _timestamp(text: str | None) -> float | None:
    """Whole seconds, as the header Last-Modified has them; ``text`` is like ``2026-01-31T12:00:00.123Z``."""
    return datetime.fromisoformat(text[:19] + "+00:00").timestamp() if text else None
