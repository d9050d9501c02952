"""Turns a server's answer into one of Forebay's errors, the same for every source.

A message quotes only the status and the error code of an answer: bodies repeat request headers and
key ids.
"""

from __future__ import annotations

import http
import re

from forebay.errors import (
    AccessDeniedError,
    NotModifiedError,
    ObjectChangedError,
    ObjectNotFoundError,
    SourceError,
    SourceNotAllowedError,
    TransientSourceError,
)
from forebay.transport import Kind, Outcome, TransportError
from forebay.transport.requests import origin_of
from forebay.uri import MediaURI

# Codes that S3 servers send with a status that does not tell the cause (mostly 400); see "Error responses"
# in the reference of the S3 API.
_TRANSIENT_CODE = re.compile(
    "BandwidthLimitExceeded|InternalError|OperationAborted|RequestLimitExceeded|RequestTimeout|ServiceUnavailable"
    "|SlowDown|(RequestThrottled|Throttled|Throttling|TooManyRequests)(Exception)?"
)
_THROTTLING_CODE = re.compile("Bandwidth|RequestLimit|RequestThrottled|SlowDown|Throttl|TooManyRequests")
_DENIED_CODE = re.compile(
    "AccessDenied|ExpiredToken|InvalidAccessKeyId|InvalidToken|SignatureDoesNotMatch|TokenRefreshRequired"
    # Azure's, of which some come with 400, 404 or 409.
    "|AuthenticationFailed|InvalidAuthenticationInfo|NoAuthenticationInformation|PublicAccessNotPermitted"
    "|KeyBasedAuthenticationNotPermitted"
)
_REMEDIES = {
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "ExpiredToken": "renew them, for instance with `aws sso login`",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "AuthenticationFailed": "the key, SAS or token is wrong or has expired, or this machine's clock is wrong",
    "AuthorizationPermissionMismatch": "give them a role such as Storage Blob Data Reader, or "
    "Contributor to write, or a SAS that permits it",
    "AuthorizationFailure": "they are wrong or do not permit it, or the account's firewall refuses this "
    "network",
    "AuthorizationResourceTypeMismatch": "the SAS is not for this kind of request; it needs srt=sco",
    "InvalidAuthenticationInfo": "the token is not for this storage account, or has expired",
    "KeyBasedAuthenticationNotPermitted": "the account admits no keys; use `az login` or a managed identity",
    "NoAuthenticationInformation": "the container is not public; configure an account key, a SAS or a login",
    "PublicAccessNotPermitted": "the account is not public; configure an account key, a SAS or a login",
    "InvalidAccessKeyId": "the server does not know this access key; is it meant for another endpoint?",
}
# S3's answer to HEAD, which has no body: wrong keys look like missing permissions.
_UNKNOWN = "the server does not say why: check that they are the right ones, and what they may do"
_TRANSIENT_STATUSES = frozenset({408, 425, 429})
# What looks like a pattern or a version to people is a part of the key to every server.
_PATTERN = re.compile(r"[*\[\]]|\{[^/]*(\.\.|,)[^/]*\}")
_VERSION = re.compile(r"\?versionId=[^/]*\Z")
# What holds of requests without credentials, too.
_OF_NOBODY = frozenset({"NoAuthenticationInformation", "PublicAccessNotPermitted", "RequestTimeTooSkewed"})
_WORD = re.compile(r"\w{1,64}")
_CODE = re.compile(r"<Code>\s*(\w{1,64})\s*</Code>")


def error_code(body: str) -> str:
    """The code in the XML of an S3 or GCS error, or ``""``."""
    match = _CODE.search(body)
    return match[1] if match else ""


def failure_of(  # noqa: PLR0911 - one for each kind of failure
    uri: MediaURI, outcome: Outcome, *, credentials: str = "", to: str = "read"
) -> SourceError:
    """The error that a failed outcome means.

    Args:
        credentials, to: as for `refusal`.
    """
    error, head = outcome.error, outcome.head
    if isinstance(error, SourceError):
        return error
    if not isinstance(error, TransportError):
        return SourceError(uri.redacted, f"{type(error).__name__}: {error}")
    if error.kind is Kind.REFUSED and head is not None:
        if head.status == 416:
            return beyond_end(uri)
        # Azure tells it in a header, too, as the answer to HEAD has no body.
        told = head.headers.get("x-ms-error-code") or ""
        code = (
            error_code(outcome.refusal.decode("utf-8", "replace")) or (_WORD.fullmatch(told) and told) or ""
        )
        return refusal(uri, head.status, code, credentials=credentials, to=to)
    reason = error.reason
    if error.kind is Kind.REFUSED_ADDRESS:
        remedy = f"; if it should, add {origin_of(error.url)}/ to allowed_sources"
        return SourceNotAllowedError(uri.redacted, reason.replace(", which is refused", remedy))
    if error.url and not uri.is_url and error.kind is not Kind.REQUEST:
        there = origin_of(error.url)
        reason = (
            reason.replace("cannot connect", f"cannot connect to {there}", 1)
            if "cannot connect" in reason
            else f"{reason} ({there})"
        )
    if not error.transient:
        return SourceError(uri.redacted, reason)
    kind = "truncated" if error.kind is Kind.TRUNCATED else "connection"
    return TransientSourceError(uri.redacted, reason, kind)


def refusal(
    uri: MediaURI, status: int, code: str = "", *, credentials: str = "", to: str = "read"
) -> SourceError:
    """The error for an answer whose status is not a success.

    Args:
        status: the HTTP status.
        code: the server's own error code, such as ``NoSuchKey``; empty where there is none.
        credentials: the credentials that were sent, in words and without secrets.
        to: the operation: ``read``, ``write``, ``delete`` or ``list``.
    """
    error = _refusal(uri, status, code, credentials, to)
    error.status = status
    return error


def _refusal(  # noqa: PLR0911 - one for each kind of answer
    uri: MediaURI, status: int, code: str, credentials: str, to: str
) -> SourceError:
    where = uri.redacted
    answer = _in_words(status, code)
    if status == 304:
        return NotModifiedError(where, "not modified since it was cached")
    if _TRANSIENT_CODE.fullmatch(code) or status in _TRANSIENT_STATUSES or (status >= 500 and status != 501):
        kind = "throttled" if status == 429 or _THROTTLING_CODE.match(code) else "server_error"
        return TransientSourceError(where, f"the server failed or is too busy ({answer})", kind)
    if code in ("InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"):
        return SourceError(where, f"the object is archived ({answer}); restore it first")
    if status in (401, 403, 407) or _DENIED_CODE.fullmatch(code):
        what = "it" if uri.bucket else "the buckets"
        unexplained = not code and uri.scheme in ("s3", "minio")
        remedy = _UNKNOWN if unexplained else _REMEDIES.get(code, f"check that they may {to} {what}")
        if credentials.startswith("no credentials") and code not in _OF_NOBODY:
            remedy = f"{what if uri.bucket else 'this'} is not public: give credentials that may {to} {what}"
        return AccessDeniedError(
            where, f"access denied ({answer}) with {credentials or 'no credentials'}; {remedy}"
        )
    if status in (404, 410):
        return ObjectNotFoundError(where, f"{_missing(uri, code)} ({answer}){_hint(uri, code, credentials)}")
    if status == 412:
        return changed(uri)
    if status in (301, 307) and uri.scheme == "s3":
        return SourceError(where, f"the bucket is in another region than the one configured ({answer})")
    return SourceError(where, f"the server refused ({answer})")


def _missing(uri: MediaURI, code: str) -> str:
    if code in ("NoSuchBucket", "ContainerNotFound"):
        return f"no such bucket {uri.bucket!r}"
    if code == "ResourceNotFound":
        return "no such object, or one that is not public"
    # The answer to HEAD has no body that would tell.
    return "no such object" if code or uri.is_url else "no such object, or no such bucket"


def _hint(uri: MediaURI, code: str, credentials: str) -> str:
    if uri.is_url:
        return ""
    # In these stores, each account or server has names of its own.
    if code == "ContainerNotFound" or (code == "NoSuchBucket" and uri.scheme == "minio"):
        other = "account" if uri.scheme == "az" else "server"
        return f"; if another {other} has it, give it credentials of its own in the setting credentials"
    if code == "ResourceNotFound":
        used = credentials or "no credentials"
        return f" with {used}; check the name of the storage account, and what they may see"
    if _VERSION.search(uri.key):
        return "; versions cannot be chosen: ?versionId= is taken for a part of the key"
    if _PATTERN.search(uri.key):
        return "; to choose by a pattern, name the folder, and give the pattern to --include"
    return ""


def changed(uri: MediaURI) -> ObjectChangedError:
    """The error for an object that is no longer the one whose reading was begun."""
    return ObjectChangedError(uri.redacted, "the object changed while it was being read")


def unsignable(uri: MediaURI, method: str) -> SourceError:
    """The error for a method that no URL can be signed for."""
    return SourceError(uri.redacted, f"a URL can be signed for GET, HEAD, PUT or DELETE, not for {method!r}")


def truncated(uri: MediaURI, received: int, expected: int | None) -> TransientSourceError:
    """The error for a body that ended early."""
    of = f"{expected:,} bytes" if expected is not None else "an unknown number"
    return TransientSourceError(uri.redacted, f"the answer ended after {received:,} of {of}", "truncated")


def damaged(uri: MediaURI) -> TransientSourceError:
    """The error for bytes that are not those of the object."""
    reason = "the bytes that arrived do not match the object's checksum"
    return TransientSourceError(uri.redacted, reason, "truncated")


class RangeNotSatisfiableError(SourceError):
    """The requested range begins after the object's end (416)."""


def beyond_end(uri: MediaURI) -> RangeNotSatisfiableError:
    """The error for a range that begins after the object's end."""
    return RangeNotSatisfiableError(uri.redacted, "the range begins after the object's end")


def interrupted(uri: MediaURI, why: str) -> TransientSourceError:
    """The error for a connection that could not be made, or was lost."""
    return TransientSourceError(uri.redacted, why)


def _in_words(status: int, code: str) -> str:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    # "404 Not Found: NoSuchKey", but not "403 Forbidden: Forbidden".
    detail = f": {code}" if code and code.lower() != phrase.lower().replace(" ", "") else ""
    return f"{status} {phrase}{detail}".strip()
