"""A download context: a loop over paths, with the next batches already on their way."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType

from typing_extensions import Self

from forebay.engine import Engine
from forebay.errors import ForebayError
from forebay.jobs.progress import ProgressOption, reporter
from forebay.jobs.status import JobStatus
from forebay.lookahead.batch import is_fetchable
from forebay.lookahead.window import LookAhead
from forebay.uri import entry_of, redact

log = logging.getLogger(__name__)


class PassingLoop:
    """A loop over paths: which samples failed, and how far it is. It waits for nothing.

    Args:
        engine: of the cache.
        uris: what the loop asks for.
        skip_failures: whether it goes on after a sample that failed.
        progress: how its progress is shown.

    Attributes:
        failures: the URI (without secrets) and the error of each sample that could not be downloaded.
    """

    def __init__(
        self, engine: Engine, uris: Sequence[str], *, skip_failures: bool, progress: ProgressOption
    ) -> None:
        self._engine = engine
        self._uris = uris
        self._skip_failures = skip_failures
        self._opened = ExitStack()
        self._show = self._opened.enter_context(reporter(progress))
        self._began = time.monotonic()
        self.failures: list[tuple[str, Exception]] = []

    def _pass_by(self, passed: int) -> None:
        """Counts the samples that the loop has left."""
        if self._show is not None:
            self._show(
                JobStatus.of_loop(
                    total=len(self._uris),
                    passed=passed,
                    failed=len(self.failures),
                    elapsed_seconds=time.monotonic() - self._began,
                )
            )

    def _failed(self, uri: str, error: ForebayError) -> str:
        """The path at which there is no file; raises where a failure ends the loop."""
        if not self._skip_failures:
            raise error
        log.warning("%s", error)
        self.failures.append((redact(uri), error))
        return self._engine.files.layout().path(entry_of(uri)) if is_fetchable(uri) else uri


class DownloadContext(PassingLoop):
    """Iterates through local paths, in order; `MediaCache.download_context` makes one.

    Usable in a ``with`` statement, or in a ``for`` loop at once. Samples that were downloaded ahead are
    leased until the loop has left their batch. If there was no room for a sample ahead of time, it is
    downloaded when its turn comes.

    Attributes:
        failures: the URI (without secrets) and the error of each sample that could not be downloaded.
    """

    def __init__(
        self,
        engine: Engine,
        uris: Iterable[str],
        *,
        batch_size: int | None,
        target_size_bytes: int | str | None,
        clear: bool,
        lookahead: int,
        update: bool | float | str,
        skip_failures: bool,
        progress: ProgressOption,
    ) -> None:
        uris = list(uris)
        self._ahead = LookAhead(
            engine,
            [(uri,) for uri in uris],
            batch_size=batch_size,
            target_size_bytes=target_size_bytes,
            clear=clear,
            lookahead=lookahead,
            update=update,
        )
        super().__init__(engine, uris, skip_failures=skip_failures, progress=progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops downloading ahead, and ends the leases; the end of the loop does so, too."""
        self._opened.close()
        self._ahead.close()

    def __iter__(self) -> Iterator[str]:
        try:
            for number, uri in enumerate(self._uris):
                yield self._path(number, uri)
                self._pass_by(number + 1)
        finally:
            self.close()

    def _path(self, number: int, uri: str) -> str:
        try:
            return self._ahead.path(number, uri)
        except ForebayError as error:
            return self._failed(uri, error)
