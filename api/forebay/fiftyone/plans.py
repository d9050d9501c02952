"""Plans: what a workflow is going to read, in which order, so that it is fetched ahead of the loop.

A workflow runs inside `foreseen`. Nothing is fetched before it reads its first file through
`forebay.fiftyone.media`; from then on the plan keeps ahead of it.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from forebay.cache import MediaCache
from forebay.errors import DownloadError, ForebayError, SourceError
from forebay.fiftyone.log import log
from forebay.fiftyone.remote_media import RemoteMedia
from forebay.lookahead.window import LookAhead
from forebay.uri import redact

_NAMED = 5

_active: tuple[Plan, ...] = ()
_lock = threading.Lock()


class Plan:
    """The media that one workflow reads.

    Args:
        media: of each step of its loop.
        ahead: what fetches it.
        strict: raise when anything that was fetched ahead failed, wanted or not.
        iterated: whether a loop over the samples drives it that need not read anything through it.
        passed: told the number of the step that the loop has come to.

    Attributes:
        thread: the one that the workflow runs in.
        raised: whether the workflow ended with an error of ours, which says enough.
    """

    def __init__(
        self,
        media: RemoteMedia,
        ahead: LookAhead,
        strict: bool,
        iterated: bool,
        passed: Callable[[int], object],
    ) -> None:
        self._media = media
        self._ahead = ahead
        self._strict = strict
        self._iterated = iterated
        self._passed = passed
        self._furthest = -1
        self._read = False
        self._failures: dict[str, object] = {}
        self._told: set[str] = set()
        self._numbers: dict[str, int] = {}
        for number, uris in enumerate(media.steps):
            for uri in uris:
                self._numbers.setdefault(uri, number)
        self.thread = threading.get_ident()
        self.raised = False
        # The threads that fetch ahead do not come along to a forked child.
        self._process = os.getpid()

    def foresees(self, uri: str) -> bool:
        """Whether this plan fetches the URI."""
        return uri in self._numbers

    @property
    def is_here(self) -> bool:
        """Whether this process made it, rather than the one that this was forked from."""
        return self._process == os.getpid()

    def begin(self, *, for_children: bool = False) -> None:
        """Begins to fetch before anything is read.

        Args:
            for_children: whether it is child processes that read, and `reach` that tells how far they are.
        """
        self._ahead.for_children = for_children
        self.reach(0)

    def reach(self, number: int) -> None:
        """Tells that the loop has come to step ``number``."""
        self._ahead.reach(number)
        self._note(number)

    def arrive(self, sample: str) -> None:
        """Tells that the loop has got a sample, and waits for its batch, unless the loop reads its media
        through the plan: then its reads tell better where it is, as it may collect samples first.

        Raises:
            DownloadError: as `local_path`, if the plan is strict.
        """
        if not self._iterated or self._read or not self.is_here:
            return
        number = self._media.numbers.get(sample)
        if number is None:
            return
        self._ahead.wait(number)
        self._note(number)
        self.check()

    def local_path(self, uri: str) -> str:
        """Where a URI lies; the loop is at its step now.

        Raises:
            ForebayError: it cannot be had; names the sample.
        """
        with self._noting(uri) as number:
            return self._ahead.path(number, uri)

    @contextmanager
    def reading(self, uri: str) -> Iterator[str]:
        """As `local_path`, for a file that is opened within the block and not passed on.

        Raises:
            ForebayError: as `local_path`.
        """
        with ExitStack() as opened:
            with self._noting(uri) as number:
                path = opened.enter_context(self._ahead.reading(number, uri))
            yield path

    @contextmanager
    def _noting(self, uri: str) -> Iterator[int]:
        """Gives a URI's step; notes how far the loop is, and what fails within the block."""
        self._read = True
        number = self._numbers[uri]
        self._note(number)
        try:
            yield number
        except ForebayError as error:
            self._failures[uri] = error
            raise named(error, self._media.owner(uri)) from error
        self._failures.pop(uri, None)
        self.check()

    def check(self) -> None:
        """Raises when the plan is strict and something has failed.

        Raises:
            DownloadError: names what failed first, and its sample.
        """
        for uri, reason in list(self._ahead.failures.items()) if self._strict else ():
            raise DownloadError(described(uri, reason, self._media.owner(uri)))

    def close(self) -> None:
        """Ends what is under way, and says what could not be had, unless a plan within this one did."""
        if not self.is_here:
            return
        self._ahead.close()
        failures = {**self._ahead.failures, **self._failures}
        untold = [uri for uri in sorted(failures, key=self._numbers.__getitem__) if uri not in self._told]
        for plan in _active:
            plan._told.update(untold)
        if not self.raised:
            summarize([(uri, failures[uri]) for uri in untold], self._media)

    def _note(self, number: int) -> None:
        if number > self._furthest:
            self._furthest = number
            self._passed(number)


def local_path(uri: str) -> str | None:
    """Where a URI lies that a plan foresees; ``None`` when none does.

    Raises:
        ForebayError: it cannot be had.
    """
    plan = _plan(lambda plan: plan.foresees(uri)) if _active else None
    return None if plan is None else plan.local_path(uri)


def reading(uri: str) -> AbstractContextManager[str] | None:
    """As `local_path`, for a file that is opened within the block and not passed on."""
    plan = _plan(lambda plan: plan.foresees(uri)) if _active else None
    return None if plan is None else plan.reading(uri)


def foreseen_by_parent(uri: str) -> bool:
    """Whether the process that this one was forked from fetches the URI by a plan."""
    return any(plan.foresees(uri) for plan in _active if not plan.is_here)


def any_active() -> bool:
    """Whether there is any plan; asked for every sample of every loop."""
    return bool(_active)


def arrive(sample: str) -> None:
    """Tells the plan of this thread's workflow, if there is one, that its loop has got a sample."""
    plan = current()
    if plan is not None and plan.thread == threading.get_ident():
        plan.arrive(sample)


def current() -> Plan | None:
    """The plan of the workflow that began last: in this thread if it has any, else in this process."""
    return _plan(lambda plan: True) if _active else None


def _plan(fits: Callable[[Plan], bool]) -> Plan | None:
    """The latest plan that fits: this thread's own, if there is one, else another's.

    A workflow reads from threads of its own as well; two workflows in two threads each have their own.
    """
    thread = threading.get_ident()
    fitting = [plan for plan in reversed(_active) if plan.is_here and fits(plan)]
    return next((plan for plan in fitting if plan.thread == thread), fitting[0] if fitting else None)


@contextmanager
def foreseen(
    cache: Callable[[], MediaCache],
    media: RemoteMedia,
    *,
    batch_size: int | None = None,
    target_size_bytes: int | None = None,
    clear: bool = False,
    update: bool = False,
    strict: bool = False,
    iterated: bool = False,
    passed: Callable[[int], object] = lambda number: None,
) -> Iterator[Plan | None]:
    """Runs a workflow by a plan, and says at its end what could not be had.

    Args:
        cache: gives the cache; asked only if there is something to fetch.
        media: what the workflow reads.
        batch_size: as for `LookAhead`, and so on.
        strict: as for `Plan`, and so on.
    """
    global _active  # noqa: PLW0603
    if not any(media.steps):
        yield None
        return
    ahead = LookAhead(
        cache().engine,
        media.steps,
        batch_size=batch_size,
        target_size_bytes=target_size_bytes,
        clear=clear,
        update=update,
    )
    plan = Plan(media, ahead, strict, iterated, passed)
    with _lock:
        _active = (*_active, plan)
    try:
        yield plan
        plan.check()
    except ForebayError:
        plan.raised = True
        raise
    finally:
        with _lock:
            _active = tuple(other for other in _active if other is not plan)
        plan.close()


def named(error: ForebayError, sample: str | None) -> ForebayError:
    """The same error, naming the sample as well."""
    if sample is None:
        return error
    if isinstance(error, SourceError):
        return type(error)(error.uri, f"{error.reason} (sample {sample})")
    return type(error)(f"{error} (sample {sample})")


def described(uri: str, reason: object, sample: str | None) -> str:
    """What could not be had, why, and whose it is, without secrets."""
    shown = redact(uri)
    text = str(reason)
    if shown not in text:
        text = f"{shown}: {text}"
    return text if sample is None else f"{text} (sample {sample})"


def summarize(failures: Iterable[tuple[str, object]], media: RemoteMedia) -> None:
    """Logs once what could not be had: how many, why, and the first few.

    Args:
        failures: URI, and the error or the text that says why.
        media: what was wanted.
    """
    found = list(failures)
    if not found:
        return
    lines = [f"  {described(uri, reason, media.owner(uri))}" for uri, reason in found[:_NAMED]]
    if len(found) > _NAMED:
        places = Counter("/".join(redact(uri).split("/", 3)[:3]) for uri, _ in found[_NAMED:])
        where = ", ".join(f"{count} in {place}" for place, count in places.most_common(_NAMED))
        lines.append(f"  … and {len(found) - _NAMED} more: {where}")
    log.warning(
        "%d of %d media files could not be downloaded:\n%s", len(found), len(media.uris()), "\n".join(lines)
    )
