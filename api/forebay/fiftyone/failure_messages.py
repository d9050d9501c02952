"""Messages about media that could not be downloaded, naming the samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from copy import copy

from forebay.errors import ForebayError, SourceError
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.remote_media import RemoteMedia
from forebay.uri import redact

_MAX_NAMED = 5


def with_sample(error: ForebayError, sample_id: str | None) -> ForebayError:
    """A copy of the error whose message also names the sample."""
    if sample_id is None:
        return error
    named = copy(error)  # with its data
    if isinstance(named, SourceError):
        named.reason = f"{named.reason} (sample {sample_id})"
        named.args = (f"{named.uri}: {named.reason}",)
    else:
        named.args = (f"{error} (sample {sample_id})",)
    return named


def describe(uri: str, reason: object, sample_id: str | None) -> str:
    """One failure in words: the URI without secrets, the reason, and the sample."""
    shown = redact(uri)
    text = str(reason)
    if shown not in text:
        text = f"{shown}: {text}"
    return text if sample_id is None else f"{text} (sample {sample_id})"


def log_summary(failures: Iterable[tuple[str, object]], media: RemoteMedia) -> None:
    """Logs all failures in one message: how many, and the first few in full.

    Args:
        failures: each URI with the error or the text of its reason.
        media: what was to be downloaded.
    """
    found = list(failures)
    if not found:
        return
    lines = [f"  {describe(uri, reason, media.owner(uri))}" for uri, reason in found[:_MAX_NAMED]]
    if len(found) > _MAX_NAMED:
        roots = Counter("/".join(redact(uri).split("/", 3)[:3]) for uri, _ in found[_MAX_NAMED:])
        where = ", ".join(f"{count} in {root}" for root, count in roots.most_common(_MAX_NAMED))
        lines.append(f"  … and {len(found) - _MAX_NAMED} more: {where}")
    log.warning(
        "%d of %d media files could not be downloaded:\n%s", len(found), len(media.uris()), "\n".join(lines)
    )
