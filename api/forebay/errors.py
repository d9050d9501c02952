"""Everything that Forebay raises.

Each message says what happened, to which URI or setting, and what to do about it, so that a caller
can show it as it stands. ``exit_status`` is what the command line exits with when the error ends a
command.
"""

from __future__ import annotations


class ForebayError(Exception):
    """Base class of every error of Forebay."""

    exit_status = 1


class ConfigError(ForebayError):
    """A setting is unknown or has a bad value; the message names the file or variable."""

    exit_status = 2


class UriError(ForebayError, ValueError):
    """A URI cannot be understood, or its scheme is not supported."""

    exit_status = 2


class ManifestError(ForebayError, ValueError):
    """A manifest has a line that cannot be read; the message names the file and the line."""

    exit_status = 2


class IndexUnavailableError(ForebayError):
    """Redis cannot be reached, refuses the password, or may evict keys by itself."""

    exit_status = 2


class VolumeError(ForebayError):
    """The cache directory cannot be used, or belongs to another index."""

    exit_status = 2


class CacheFullError(ForebayError):
    """No space can be made: what fills the cache is leased, or the disk is at its floor."""


class ObjectTooLargeError(CacheFullError):
    """The object alone is larger than the cache; refused before it is downloaded."""


class NoWorkersError(ForebayError):
    """The fleet was asked for, but no worker of this volume is alive."""

    exit_status = 2


class JobNotFoundError(ForebayError, LookupError):
    """No job with this id is known (it may have expired)."""

    exit_status = 2


class LeaseNotFoundError(ForebayError, LookupError):
    """No lease has this name (it may have expired)."""

    exit_status = 2


class DownloadError(ForebayError):
    """Some samples of a job could not be cached and ``skip_failures`` was false."""


class MediaError(ForebayError):
    """What a file holds cannot be understood; the message names the file."""


class SourceError(ForebayError):
    """A source did not give what was asked of it.

    Attributes:
        uri: the URI in question, without secrets.
        transient: whether trying again may help.
        attempts: how many attempts were made before this was raised.
    """

    transient = False

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"{uri}: {reason}")
        self.uri = uri
        self.reason = reason
        self.attempts = 1

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, str]]:
        return type(self), (self.uri, self.reason)


class ObjectNotFoundError(SourceError, FileNotFoundError):
    """The source has no such object (404), or no such bucket."""

    def __str__(self) -> str:
        return f"{self.uri}: {self.reason}"


class AccessDeniedError(SourceError, PermissionError):
    """The source refuses these credentials (401, 403), or there are none."""

    def __str__(self) -> str:
        return f"{self.uri}: {self.reason}"


class SourceNotAllowedError(SourceError):
    """The URI is outside ``allowed_sources``, or leads to a private address."""


class TransientSourceError(SourceError):
    """A failure that another attempt may cure: 5xx, SlowDown, a reset, a time-out, a truncated body.

    Attributes:
        exhausted: whether it has been tried often enough already.
        kind: what it is counted as; one of `forebay.metrics.catalogue.REASONS`.
    """

    transient = True
    exhausted = False

    def __init__(self, uri: str, reason: str, kind: str = "connection") -> None:
        super().__init__(uri, reason)
        self.kind = kind


class ObjectChangedError(TransientSourceError):
    """The object changed at its source while it was being fetched."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(uri, reason, "changed")


class NotModifiedError(SourceError):
    """The answer to a conditional request: the cached copy is still current."""


class CvatError(ForebayError):
    """CVAT refuses a request, cannot be reached, or lacks something; the message says what to do."""


class CvatResponseError(CvatError):
    """CVAT answered a request with an HTTP error.

    Attributes:
        status: the HTTP status.
        detail: CVAT's own explanation, from the body of its answer.
    """

    def __init__(self, message: str, status: int, detail: str) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
