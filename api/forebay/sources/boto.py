"""Signing and naming buckets with boto3, and what its exceptions mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forebay.errors import AccessDeniedError, ForebayError, SourceError
from forebay.sources import failures
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from forebay.sources.s3_access import S3Access

# botocore is imported in the functions that need it: it takes 100 ms, and reading mostly does without.
_SERVER = re.compile(r"(https?://)(?:[^/?#\s\"]*@)?([^/?#\s\"]+)")
_MAX_TEXT = 300
_MAX_SIGNATURE_SECONDS = 7 * 24 * 3600
_SIGNED = {"GET": "get_object", "HEAD": "head_object", "PUT": "put_object", "DELETE": "delete_object"}
# Exceptions of botocore that another attempt may cure.
_INTERRUPTIONS = {
    "ConnectTimeoutError": "timed out: cannot connect",
    "ReadTimeoutError": "timed out: nothing arrived for too long",
    "EndpointConnectionError": "cannot connect",
    "FlexibleChecksumError": "the bytes that arrived do not match the object's checksum",
    "IncompleteReadError": "the answer ended early",
    "ProxyConnectionError": "the proxy cannot be reached or refuses",
    "HTTPClientError": "the connection was lost",
    "OSError": "the connection was lost",
}


class BotoClient:
    """Signs and names buckets with the client of one S3 server.

    Raises:
        ConfigError: boto3 does not accept ``extra_client_kwargs``.
    """

    def __init__(self, access: S3Access) -> None:
        self._client = access.client()
        self._access = access

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        if not 1 <= expires_seconds <= _MAX_SIGNATURE_SECONDS:
            raise SourceError(
                uri.redacted, f"a signed URL can last from 1 s to 7 days, not {expires_seconds:,} s"
            )
        try:
            return self._client.generate_presigned_url(
                _SIGNED[method], Params={"Bucket": uri.bucket, "Key": uri.key}, ExpiresIn=expires_seconds
            )
        except KeyError:
            raise failures.unsignable(uri, method) from None
        except Exception as error:
            raise self._failure(uri, error) from None

    def containers(self) -> Sequence[str]:
        try:
            return [bucket["Name"] for bucket in self._client.list_buckets()["Buckets"]]
        except Exception as error:
            raise self._failure(MediaURI("", self._access.scheme, "", ""), error, to="list") from None

    def _failure(self, uri: MediaURI, error: Exception, *, to: str = "read") -> SourceError:
        return failure(uri, error, self._access.description, to=to)


def told(error: Exception) -> str:
    """What an exception says that botocore has raised, or let through, on one line.

    What a program printed that was to give credentials is left out: it may be the credentials.
    """
    from botocore.exceptions import BotoCoreError

    if isinstance(error, BotoCoreError) and error.kwargs.get("provider") == "custom-process":
        return "credential_process failed, or printed no credentials; run its command to see why"
    text = " ".join(str(error).split())[:_MAX_TEXT]
    # The configuration decides what else is raised: botocore checks few of its values.
    return text if isinstance(error, BotoCoreError | ForebayError) else f"{type(error).__name__}: {text}"


def failure(  # noqa: PLR0911 - one for each kind of exception
    uri: MediaURI, error: Exception, credentials: str, *, to: str = "read"
) -> SourceError:
    """The error for an exception of botocore; see `failures.refusal`."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, SourceError):
        return error
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = error.response.get("Error", {}).get("Code", "")
        if status == 416:
            return failures.beyond_end(uri)
        return failures.refusal(uri, status, "" if code.isdigit() else code, credentials=credentials, to=to)
    names = [kind.__name__ for kind in type(error).__mro__]
    if "SSLError" in names:
        return SourceError(uri.redacted, "the server's TLS certificate is not trusted")
    if reasons := [_INTERRUPTIONS[name] for name in names if name in _INTERRUPTIONS]:
        return failures.interrupted(uri, _in_words(uri, reasons[0], str(error)))
    if isinstance(error, BotoCoreError) and "redential" in f"{names} {error}":
        return AccessDeniedError(uri.redacted, f"{credentials} cannot be used: {told(error)}")
    return SourceError(uri.redacted, told(error))


def _in_words(uri: MediaURI, reason: str, text: str) -> str:
    there = _SERVER.search(text)
    if there is None or not reason.startswith(("the proxy", "cannot", "timed out: cannot")):
        return reason
    server = f"{there[1]}{there[2]}".rstrip("/")
    if reason.startswith("the proxy"):
        return reason.replace("the proxy", f"the proxy {server}")
    return f"{reason} to {server}"
