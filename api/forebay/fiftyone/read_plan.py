"""A read plan: which media a workflow is going to read, in order, so that they are fetched ahead of its loop.

Nothing is fetched before the workflow reads its first file through `forebay.fiftyone.local_media`. From
then on the plan tells the look-ahead how far the loop is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from forebay.errors import DownloadError, Failure, ForebayError
from forebay.fiftyone.failure_messages import describe, log_summary, with_sample
from forebay.fiftyone.remote_media import RemoteMedia
from forebay.lookahead.window import LookAhead
from forebay.uri import redact


class ReadPlan:
    """The media that one workflow reads.

    Args:
        media: the media of each step of the workflow's loop.
        ahead: fetches them.
        strict: whether to raise when anything that was fetched ahead failed, even if it is not read.
        iterated: whether a loop over the samples drives the plan, even if it reads nothing through it.
        on_step: called with the number of each step that the loop reaches.

    Attributes:
        thread: the thread that the workflow runs in.
        raised: whether the workflow ended with a `ForebayError`; then `close` logs no summary.
    """

    def __init__(
        self,
        media: RemoteMedia,
        ahead: LookAhead,
        strict: bool,
        iterated: bool,
        on_step: Callable[[int], object],
    ) -> None:
        self._media = media
        self._ahead = ahead
        self._strict = strict
        self._iterated = iterated
        self._on_step = on_step
        self._furthest = -1
        self._has_read = False
        self._failures: dict[str, object] = {}
        self._reported: set[str] = set()
        self._numbers: dict[str, int] = {}
        for number, uris in enumerate(media.steps):
            for uri in uris:
                self._numbers.setdefault(uri, number)
        self.thread = threading.get_ident()
        self.raised = False
        # A forked child does not have the threads that fetch ahead.
        self._process = os.getpid()

    def includes(self, uri: str) -> bool:
        """Whether this plan fetches the URI."""
        return uri in self._numbers

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process made the plan; false in a child that was forked since."""
        return self._process == os.getpid()

    def begin(self, *, for_children: bool = False) -> None:
        """Begins to fetch before anything is read.

        Args:
            for_children: whether child processes read the media, so that only `reach` tells how far they are.
        """
        self._ahead.for_children = for_children
        self.reach(0)

    def reach(self, number: int) -> None:
        """Notes that the loop has reached step ``number``."""
        self._ahead.reach(number)
        self._note_step(number)

    def reach_sample(self, sample_id: str) -> None:
        """Notes that the loop has reached a sample, and waits for its batch.

        Does nothing when the loop reads media through the plan: it may collect samples first, so its reads
        tell better how far it is.

        Raises:
            DownloadError: as `local_path`, if the plan is strict.
        """
        if not self._iterated or self._has_read or not self.is_of_this_process:
            return
        number = self._media.numbers.get(sample_id)
        if number is None:
            return
        self._ahead.wait(number)
        self._note_step(number)
        self.check()

    def local_path(self, uri: str) -> str:
        """The local path of a URI, whose step the loop has reached now.

        Raises:
            ForebayError: the media cannot be downloaded; the message names the sample.
        """
        with self._reading_step(uri) as number:
            return self._ahead.path(number, uri)

    @contextmanager
    def path_for_reading(self, uri: str) -> Iterator[str]:
        """As `local_path`, for a file that is opened within the block and not passed on.

        Raises:
            ForebayError: as `local_path`.
        """
        with ExitStack() as opened:
            with self._reading_step(uri) as number:
                path = opened.enter_context(self._ahead.reading(number, uri))
            yield path

    @contextmanager
    def _reading_step(self, uri: str) -> Iterator[int]:
        """Yields the step of a URI, notes that the loop has reached it, and records errors of the block."""
        self._has_read = True
        number = self._numbers[uri]
        self._note_step(number)
        try:
            yield number
        except ForebayError as error:
            self._failures[uri] = error
            raise with_sample(error, self._media.owner(uri)) from error
        self._failures.pop(uri, None)
        self.check()

    def check(self) -> None:
        """Raises the first failure if the plan is strict.

        Raises:
            DownloadError: the message names the sample.
        """
        failed = list(self._ahead.failures.items()) if self._strict else []
        if failed:
            uri, reason = failed[0]
            raise DownloadError(
                describe(uri, reason, self._media.owner(uri)),
                failures=[
                    Failure(redact(uri), why.removeprefix(f"{redact(uri)}: "), 0) for uri, why in failed
                ],
            )

    def close(self, outer: Iterable[ReadPlan] = ()) -> None:
        """Stops fetching, and logs all failures that no inner plan has logged.

        Args:
            outer: the plans that are still active; they do not log these failures again.
        """
        if not self.is_of_this_process:
            return
        self._ahead.close()
        failures = {**self._ahead.failures, **self._failures}
        unreported = [
            uri for uri in sorted(failures, key=self._numbers.__getitem__) if uri not in self._reported
        ]
        for plan in outer:
            plan._reported.update(unreported)
        if not self.raised:
            log_summary([(uri, failures[uri]) for uri in unreported], self._media)

    def _note_step(self, number: int) -> None:
        if number > self._furthest:
            self._furthest = number
            self._on_step(number)
