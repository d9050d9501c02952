"""All errors that Forebay raises, and the failure of one sample.

Each message says what happened, to which URI or setting, and what to do about it, so that a caller can
show it unchanged. Data that a program needs (sizes, counts, the URI) are attributes beside the message;
an attribute is ``None``, or empty, where the code that raised the error did not know it. ``exit_status`` is
the status with which the command line exits when the error ends a command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from errno import EROFS
from typing import Any


class ForebayError(Exception):
    """Base class of all errors of Forebay.

    Attributes:
        exit_status: the status with which a command exits.
        kind: one word for the cause, by which the metrics count failures.
    """

    exit_status = 1
    kind = "other"


class ConfigError(ForebayError):
    """A setting is unknown or has a bad value; the message names the file or variable.

    Attributes:
        setting: the name of the setting, wherever its value came from. For other values it is the name of
            the environment variable or argument; ``None`` also where several settings do not go together.
    """

    exit_status = 2

    def __init__(self, message: str, *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting


class UriError(ForebayError, ValueError):
    """A URI cannot be parsed, or its scheme is not supported.

    Attributes:
        uri: the URI, without secrets.
    """

    exit_status = 2
    kind = "bad_uri"

    def __init__(self, message: str, *, uri: str | None = None) -> None:
        super().__init__(message)
        self.uri = uri


class ManifestError(ForebayError, ValueError):
    """A manifest cannot be read, has a line that cannot be read, or names nothing.

    Attributes:
        file: the path or URI of the manifest, as the message names it; ``standard input`` for that.
        line: the number of the line, from 1; ``None`` also where the problem is not a single line.
    """

    exit_status = 2

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


class IndexUnavailableError(ForebayError):
    """Redis cannot be reached, refuses the password, or is configured to evict keys by itself."""

    exit_status = 2


class VolumeError(ForebayError):
    """The cache directory cannot be used, or belongs to another index; or there is no such volume.

    Attributes:
        volume: the name of the volume.
        path: the cache directory, or the file in it that cannot be used.
        errno: the operating system's number, if it refused something: ``errno.EROFS``, for example.
    """

    exit_status = 2

    def __init__(
        self,
        message: str,
        *,
        volume: str | None = None,
        path: str | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(message)
        self.volume = volume
        self.path = path
        self.errno = errno


class CacheFullError(ForebayError):
    """No space can be made: the entries are leased or claimed, or the disk is at its floor.

    Attributes:
        uri: the object that the space was for, without secrets.
        needed: the space that was asked for, in bytes.
        limit: the size of the cache, in bytes; ``None`` also where it has no limit.
        held: how much of the cache leases, claims and reservations keep from eviction, in bytes.
        errno: the operating system's number, if it refused to write the file: ``errno.ENOSPC``, for example.
    """

    kind = "cache_full"

    def __init__(
        self,
        message: str,
        *,
        uri: str | None = None,
        needed: int | None = None,
        limit: int | None = None,
        held: int | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(message)
        self.uri = uri
        self.needed = needed
        self.limit = limit
        self.held = held
        self.errno = errno


class ObjectTooLargeError(CacheFullError):
    """The object alone is larger than the cache; refused before it is downloaded.

    Attributes:
        size: of the object, in bytes; the same as ``needed``.
    """

    kind = "too_large"

    def __init__(
        self, message: str, *, uri: str | None = None, size: int | None = None, limit: int | None = None
    ) -> None:
        super().__init__(message, uri=uri, needed=size, limit=limit)
        self.size = size


class NoWorkersError(ForebayError):
    """The fleet was asked for, but no worker of this volume is alive.

    Attributes:
        volume: the name of the volume; ``None`` also where none of several volumes has a worker.
    """

    exit_status = 2

    def __init__(self, message: str, *, volume: str | None = None) -> None:
        super().__init__(message)
        self.volume = volume


class JobNotFoundError(ForebayError, LookupError):
    """No job with this id is known; it may have expired.

    Attributes:
        job: the id.
    """

    exit_status = 2

    def __init__(self, message: str, *, job: str = "") -> None:
        super().__init__(message)
        self.job = job


class JobTimeoutError(ForebayError, TimeoutError):
    """A job has not ended in the time that a caller would wait; it is still running.

    Attributes:
        job: the id.
    """

    def __init__(self, message: str, *, job: str = "") -> None:
        super().__init__(message)
        self.job = job


class LeaseNotFoundError(ForebayError, LookupError):
    """No lease has this name; it may have expired.

    Attributes:
        lease: the name.
    """

    exit_status = 2

    def __init__(self, message: str, *, lease: str = "") -> None:
        super().__init__(message)
        self.lease = lease


@dataclass(frozen=True, slots=True)
class Failure:
    """One sample that failed.

    Attributes:
        uri: its URI, without secrets.
        reason: the cause of the failure, and what to do about it.
        attempts: how many attempts were made; 0 where that was not counted.
    """

    uri: str
    reason: str
    attempts: int

    def _cells(self) -> dict[str, str]:
        return {"uri": self.uri, "reason": self.reason, "attempts": f"{self.attempts:,}"}

    def _repr_html_(self) -> str:
        from forebay.tables import described

        return described(self._cells())


class DownloadError(ForebayError):
    """Samples of a job could not be cached, and ``skip_failures`` was false.

    Attributes:
        job: the job's id.
        failed: how many samples had failed when the error was raised.
        failures: those samples; empty where they were not read.
    """

    def __init__(
        self,
        message: str,
        *,
        job: str = "",
        failed: int | None = None,
        failures: Sequence[Failure] = (),
    ) -> None:
        super().__init__(message)
        self.job = job
        self.failures = tuple(failures)
        self.failed = len(self.failures) if failed is None else failed


class MediaError(ForebayError):
    """The content of a media file cannot be parsed; the message names the file."""


class SampleError(ForebayError):
    """A sample of a PyTorch dataset cannot be read; the message names it and says why."""


class SourceError(ForebayError):
    """A source did not do what it was asked to.

    Attributes:
        uri: the URI in question, without secrets.
        reason: the message without the URI.
        transient: whether another attempt may succeed.
        attempts: how many attempts were made before this was raised.
        status: the HTTP status of the answer; ``None`` where there was none, or it does not matter.
    """

    transient = False
    status: int | None = None

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"{uri}: {reason}")
        self.uri = uri
        self.reason = reason
        self.attempts = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # The attributes go along: a process that receives the error sees the attempts and the kind, too.
        return type(self), (self.uri, self.reason), self.__dict__.copy()


class ObjectNotFoundError(SourceError, FileNotFoundError):
    """The source has no such object (404), or no such bucket."""

    kind = "not_found"

    def __str__(self) -> str:
        return f"{self.uri}: {self.reason}"


class AccessDeniedError(SourceError, PermissionError):
    """The source refuses these credentials (401, 403), or there are none."""

    kind = "access_denied"

    def __str__(self) -> str:
        return f"{self.uri}: {self.reason}"


class SourceNotAllowedError(SourceError):
    """The URI is outside ``allowed_sources``, or leads to a private address."""

    kind = "not_allowed"


class ReadOnlyError(SourceError, OSError):
    """A file system that only reads was asked to write or to delete something.

    Attributes:
        errno: ``errno.EROFS``.
    """

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(uri, reason)
        self.errno = EROFS

    def __str__(self) -> str:
        return f"{self.uri}: {self.reason}"


class TransientSourceError(SourceError):
    """A failure that another attempt may cure: 5xx, SlowDown, a reset, a time-out, a truncated body.

    Attributes:
        exhausted: whether no further attempt is to be made, as enough were made elsewhere.
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


class ChecksumError(SourceError):
    """The object does not have the checksum that the list of samples gives for it."""

    kind = "listed_checksum"


class NotModifiedError(SourceError):
    """The answer to a conditional request: the cached copy is still current."""


class FiftyOneError(ForebayError, ImportError):
    """FiftyOne is not installed, or the adapter does not fit it; the message names the versions that fit.

    An `ImportError`, too, because FiftyOne goes on without a module that raises one.

    Attributes:
        version: the version that is installed; ``None`` where there is none.
    """

    exit_status = 2

    def __init__(self, message: str, *, version: str | None = None) -> None:
        super().__init__(message)
        self.version = version


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

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.status, self.detail), self.__dict__.copy()


# Tracebacks and `repr` name the errors as programs do: ``forebay.ObjectNotFoundError``. Pickle finds them
# there, too. Types without such a need keep their module's name, by which `typing.get_type_hints` and
# `inspect.getsource` find what they refer to.
for _value in list(vars().values()):
    if isinstance(_value, type) and issubclass(_value, ForebayError):
        _value.__module__ = "forebay"
del _value
