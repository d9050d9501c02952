"""Why something failed, in one word: what failures and retries are counted by."""

from __future__ import annotations

from forebay.errors import (
    AccessDeniedError,
    CacheFullError,
    ForebayError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    SourceNotAllowedError,
    TransientSourceError,
    UriError,
)

# The first that fits counts, so a class comes before those that it inherits from.
_REASONS: tuple[tuple[type[ForebayError], str], ...] = (
    (ObjectNotFoundError, "not_found"),
    (AccessDeniedError, "access_denied"),
    (SourceNotAllowedError, "not_allowed"),
    (UriError, "bad_uri"),
    (ObjectTooLargeError, "too_large"),
    (CacheFullError, "cache_full"),
)


def reason_of(error: ForebayError) -> str:
    """One of the reasons that `forebay.metrics.catalogue` lists."""
    if isinstance(error, TransientSourceError):
        return error.kind
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "other")
