"""Finding the file of a URI while its batch is being fetched, or fetching it when nothing else helps."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack

from forebay.backoff import Backoff
from forebay.engine import Engine
from forebay.errors import CacheFullError, ObjectTooLargeError, SourceError
from forebay.lookahead.batch import Batch, Phase, is_fetchable
from forebay.uri import entry_of

# Short, and renewed: what a killed process had leased must not fill a small cache for long.
LEASE_SECONDS = 120.0
_LOOK_SECONDS = (0.001, 0.01)


class Finder:
    """Finds files for a loop.

    Args:
        engine: of the cache.
        give_way: gives up the batch that is needed last; returns false when there is none.
        update: whether a file that is there may be an old one, until its batch is fetched.
        remember: whether to note what was fetched out of turn.

    Attributes:
        out_of_turn: URIs that were fetched when they were asked for.
    """

    def __init__(self, engine: Engine, give_way: Callable[[], bool], *, update: bool, remember: bool) -> None:
        self.out_of_turn: list[str] = []
        self._engine = engine
        self._give_way = give_way
        self._update = update
        self._remember = remember

    def find(self, batch: Batch | None, uri: str, held: ExitStack | None = None) -> str:
        """The path of a URI.

        Args:
            batch: that it belongs to; ``None`` where the loop has left that.
            held: keeps it, if that is enough; otherwise the file itself bears the mark of its use.

        Raises:
            ForebayError: the file cannot be downloaded.
        """
        path = None
        if batch is not None and is_fetchable(uri):
            path = self.await_entry(entry_of(uri), batch, leased=held is not None)
        return self._fetch_now(uri, held) if path is None else path

    def await_entry(self, entry: str, batch: Batch, *, leased: bool) -> str | None:
        """The path of an entry as soon as it is there; ``None`` when its batch ended without it.

        Args:
            leased: whether the batch's lease is to keep it, rather than a mark on the file.

        Raises:
            SourceError: it has been tried, and trying again will not help.
        """
        looks = self.looks(entry, batch, leased=leased)
        while True:
            try:
                batch.wait_for(Phase.FETCHED, next(looks))
            except StopIteration as ended:
                path: str | None = ended.value
                return path

    def looks(self, entry: str, batch: Batch, *, leased: bool) -> Generator[float, None, str | None]:
        """What `await_entry` does, without the pauses between the looks: each is yielded, in seconds."""
        pause = Backoff(*_LOOK_SECONDS)
        while batch.phase < Phase.FETCHED and entry not in batch.outcomes:
            path = None if self._update else self._look(entry, batch, leased)
            if path is not None:
                return path
            yield pause.next()
        error = batch.outcomes.get(entry)
        if isinstance(error, ObjectTooLargeError) or (isinstance(error, SourceError) and not error.transient):
            raise error
        return self._look(entry, batch, leased)

    def note(self, uri: str) -> None:
        """Notes that a URI is fetched out of turn."""
        if self._remember and is_fetchable(uri):
            self.out_of_turn.append(uri)

    def _look(self, entry: str, batch: Batch, leased: bool) -> str | None:
        files = self._engine.files
        if not leased:
            return files.touch(entry)
        path = None if batch.lease is None else files.locate(entry)
        # A thread that ends the lease marks only files that exist by then: so look at the lease again.
        return path if path is None or batch.lease is not None else files.touch(entry)

    def _fetch_now(self, uri: str, held: ExitStack | None) -> str:
        """The path of the file that the loop needs now; downloaded if it failed or found no room before.

        Samples that are larger than expected fill the cache with what is needed later: that gives way.
        """
        self.note(uri)
        if held is not None:
            held.enter_context(self._engine.lease(None, [entry_of(uri)], LEASE_SECONDS))
        while True:
            try:
                return self._engine.local_path(uri) if held is None else self._fetch_leased(uri)
            except ObjectTooLargeError:
                raise
            except CacheFullError:
                if not self._give_way():
                    raise

    def _fetch_leased(self, uri: str) -> str:
        entry, fetcher = entry_of(uri), self._engine.open_fetcher()
        while True:
            fetcher.fetch_one(uri, unused=True)
            path = self._engine.files.locate(entry)
            if path is not None:
                return path
