"""The buckets of a project of Google Cloud Storage, and signed URLs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from urllib.parse import urlencode

from forebay.errors import SourceError
from forebay.sources import failures
from forebay.sources.gcs_access import GCSAccess
from forebay.uri import MediaURI

#: Gets a page of the JSON API, for a URI that errors are to name.
Get = Callable[[MediaURI, str], bytes]

MAX_SIGNATURE_SECONDS = 7 * 24 * 3600


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
    everything = MediaURI("", "gs", "", "")
    names: list[str] = []
    query = {"project": access.project, "fields": "items(name),nextPageToken"}
    while True:
        try:
            page = json.loads(get(everything, f"{access.endpoint}/storage/v1/b?{urlencode(query)}"))
        except ValueError:
            raise SourceError("gs://", "the answer is not the JSON that it should be") from None
        names += [item["name"] for item in page.get("items", ())]
        if "nextPageToken" not in page:
            return names
        query["pageToken"] = page["nextPageToken"]


def sign(access: GCSAccess, uri: MediaURI, url: str, *, expires_seconds: int, method: str) -> str:
    """A URL that works without credentials until it expires; see `forebay.sources.base.Source.sign`.

    Args:
        url: the object's.
    """
    from google.auth.credentials import Signing

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
    client = access.client(credentials)
    payer = access.headers.get("x-goog-user-project")
    signed: str = (
        client.bucket(uri.bucket)
        .blob(uri.key)
        .generate_signed_url(
            version="v4",
            method=method,
            expiration=timedelta(seconds=expires_seconds),
            api_access_endpoint=access.endpoint,
            query_parameters={"userProject": payer} if payer else None,
        )
    )
    return signed
