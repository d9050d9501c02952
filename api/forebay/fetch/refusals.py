"""The errors of objects that find no place, and whether an object is the one that is cached already."""

from __future__ import annotations

import contextlib
import errno
import os

from forebay.config.sizes import human
from forebay.errors import CacheFullError, ForebayError, ObjectTooLargeError, SourceError
from forebay.index import Entry
from forebay.sources.base import ObjectInfo
from forebay.uri import MediaURI
from forebay.volume.disk import FULL


def too_large(uri: MediaURI, size: int, limit: int) -> ObjectTooLargeError:
    """The error for an object of ``size`` bytes in a cache of at most ``limit``."""
    return ObjectTooLargeError(
        f"{uri}: its {human(size)} are more than the whole cache of {human(limit)}; "
        "raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES",
        uri=uri.redacted,
        size=size,
        limit=limit,
    )


def kept_by_lease(uri: MediaURI, size: int, old: int, limit: int) -> CacheFullError:
    """The error for a new version of ``size`` bytes that does not fit beside the old one, which is leased."""
    return CacheFullError(
        f"{uri}: no room for its new version of {human(size)} beside the cached one of {human(old)}, which a "
        f"lease keeps, in a cache of {human(limit)}; end the lease, or raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES",
        uri=uri.redacted,
        needed=size,
        limit=limit,
        held=old,
    )


def disk_error(uri: MediaURI, error: OSError, limit: int | None) -> CacheFullError:
    """The error for an object that the disk does not take."""
    if error.errno == errno.ENOSPC and error.filename and _is_out_of_inodes(error.filename):
        return CacheFullError(
            f"{uri}: the disk of the cache directory has no inodes left ({error.strerror}); remove files, or "
            "use a file system with more inodes",
            uri=uri.redacted,
            limit=limit,
            errno=error.errno,
        )
    if error.errno in FULL:
        return CacheFullError(
            f"{uri}: the disk of the cache directory is full ({error.strerror}); free some space, "
            "or raise FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES so that Forebay evicts before that happens",
            uri=uri.redacted,
            limit=limit,
            errno=error.errno,
        )
    reason = error.strerror or str(error)
    if error.errno == errno.EXDEV:
        reason = (
            f"{os.path.dirname(error.filename2)} is on another disk than its partial file {error.filename}; "
            "mount that disk at the cache directory, or at its directory media"
        )
    return CacheFullError(
        f"{uri}: cannot be written to the cache directory: {reason}",
        uri=uri.redacted,
        limit=limit,
        errno=error.errno,
    )


def _is_out_of_inodes(path: str) -> bool:
    with contextlib.suppress(OSError):
        found = os.statvfs(os.path.dirname(path))
        return found.f_files > 0 and found.f_favail == 0
    return False


def as_forebay_error(uri: MediaURI, error: BaseException) -> ForebayError:
    """The error of a sample, whatever raised it."""
    if isinstance(error, ForebayError):
        return error
    return SourceError(uri.redacted, f"failed unexpectedly ({type(error).__name__}): {error}")


def unchanged(info: ObjectInfo, entry: Entry, modified: float) -> bool:
    """Whether what a source says is what is cached: by etag, else by size and time.

    Args:
        modified: the cached file's time of modification, in seconds since the epoch.
    """
    if info.etag and entry.etag:
        return info.etag == entry.etag
    if info.size is None or info.modified is None:
        return False
    return info.size == entry.size and abs(info.modified - modified) < 1.0
