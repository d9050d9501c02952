"""Plans: what a workflow is going to read, in which order, so that it is fetched ahead of the loop.

A workflow runs inside `foreseen`. Nothing is fetched before it reads its first file through
`forebay.fiftyone.media`; from then on the plan keeps ahead of it.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from forebay.ahead import LookAhead
from forebay.cache import MediaCache
from forebay.errors import DownloadError, ForebayError, SourceError
from forebay.fiftyone.log import log
from forebay.uri import redact

_NAMED = 5

_active: list[Plan] = []
_lock = threading.Lock()


class Plan:
    """The media that one workflow reads.

    Args:
        ids: the id of each sample.
        samples: the remote URIs of each sample.
        ahead: what fetches them.
        strict: raise when anything that was fetched ahead failed, wanted or not.
        passed: told the number of the sample that the loop has come to.
    """

    def __init__(
        self,
        ids: Sequence[str],
        samples: Sequence[Sequence[str]],
        ahead: LookAhead,
        strict: bool,
        passed: Callable[[int], object],
    ) -> None:
        self._ahead = ahead
        self._strict = strict
        self._passed = passed
        self._failures: dict[str, object] = {}
        self._ids = ids
        self._numbers: dict[str, int] = {}
        for number, uris in enumerate(samples):
            for uri in uris:
                self._numbers.setdefault(uri, number)
        # The threads that fetch ahead do not come along to a forked child.
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def failures(self) -> dict[str, object]:
        """What could not be had, and why."""
        return {**self._ahead.failures, **self._failures}

    def foresees(self, uri: str) -> bool:
        """Whether this plan fetches the URI, in this process."""
        return uri in self._numbers and self._process == os.getpid()

    def begin(self) -> None:
        """Begins to fetch before anything is read."""
        self.reach(0)

    def reach(self, number: int) -> None:
        """Tells that the loop has come to sample ``number``."""
        self._ahead.reach(number)
        self._passed(number)

    def local_path(self, uri: str) -> str:
        """Where a URI lies; the loop is at its sample now.

        Raises:
            ForebayError: it cannot be had; names the sample.
        """
        number = self._numbers[uri]
        self._passed(number)
        try:
            path = self._ahead.path(number, uri)
        except ForebayError as error:
            self._failures[uri] = error
            raise named(error, self._ids[number]) from error
        if self._strict and self._ahead.failures:
            failed, reason = next(iter(self._ahead.failures.items()))
            raise DownloadError(f"{reason} (sample {self._ids[self._numbers[failed]]})")
        return path

    def close(self) -> None:
        """Ends what is under way."""
        self._ahead.close()


def local_path(uri: str) -> str | None:
    """Where a URI lies that a plan foresees; ``None`` when none does.

    Raises:
        ForebayError: it cannot be had.
    """
    for plan in reversed(_active):
        if plan.foresees(uri):
            return plan.local_path(uri)
    return None


def current() -> Plan | None:
    """The plan of the workflow that began last in this process."""
    return _active[-1] if _active else None


@contextmanager
def foreseen(
    cache: Callable[[], MediaCache],
    ids: Sequence[str],
    samples: Sequence[Sequence[str]],
    *,
    batch_size: int | None = None,
    target_size_bytes: int | None = None,
    clear: bool = False,
    update: bool = False,
    strict: bool = False,
    passed: Callable[[int], object] = lambda number: None,
) -> Iterator[Plan | None]:
    """Runs a workflow by a plan, and says at its end what could not be had.

    Args:
        cache: gives the cache; asked only if there is something to fetch.
        ids: the id of each sample.
        samples: the remote URIs of each sample.
        batch_size: as for `LookAhead`, and so on.
        strict: as for `Plan`, and so on.
    """
    if not any(samples):
        yield None
        return
    ahead = LookAhead(
        cache(),
        samples,
        batch_size=batch_size,
        target_size_bytes=target_size_bytes,
        clear=clear,
        update=update,
    )
    plan = Plan(ids, samples, ahead, strict, passed)
    with _lock:
        _active.append(plan)
    try:
        yield plan
    finally:
        with _lock:
            _active.remove(plan)
        plan.close()
        summarize(plan.failures, len(plan))


def named(error: ForebayError, sample: str) -> ForebayError:
    """The same error, naming the sample as well."""
    if isinstance(error, SourceError):
        return type(error)(error.uri, f"{error.reason} (sample {sample})")
    return type(error)(f"{error} (sample {sample})")


def summarize(failures: Mapping[str, object], total: int) -> None:
    """Logs once what could not be had: how many, why, and the first few.

    Args:
        failures: URI, and the error or the text that says why.
        total: how many were wanted.
    """
    if not failures:
        return
    lines = [f"  {reason}" for reason in list(map(str, failures.values()))[:_NAMED]]
    if len(failures) > _NAMED:
        places = Counter("/".join(redact(uri).split("/", 3)[:3]) for uri in list(failures)[_NAMED:])
        where = ", ".join(f"{count} in {place}" for place, count in places.most_common(_NAMED))
        lines.append(f"  … and {len(failures) - _NAMED} more: {where}")
    log.warning("%d of %d media files could not be downloaded:\n%s", len(failures), total, "\n".join(lines))
