"""The walk through a listing, page after page, several pages at a time."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from forebay.errors import SourceError
from forebay.sources.base import Page, PageQuery
from forebay.sources.listings.loops import LoopGuard
from forebay.sources.listings.pages import PageError

#: Asks for one page, and returns it or raises why there is none.
Ask = Callable[[PageQuery], Page]

# A listing is taken apart by its folders where a folder seems to hold more keys than this, so that no more
# than a few requests are added, and where there are no more folders than that.
_LEAST_KEYS_IN_FOLDER = 250
_MAX_FOLDERS = 200
_MAX_PREFIX = 4096


@dataclass(frozen=True, slots=True)
class Start:
    """A listing to walk through.

    Attributes:
        where: what is listed, without secrets, for messages.
        ask: asks for its pages; called in threads.
        query: for its first page.
        by_folder: whether it may be taken apart by its folders, which are listed at the same time. Every
            key comes once nevertheless, in order within a folder only.
    """

    where: str
    ask: Ask
    query: PageQuery
    by_folder: bool = False


def walk(starts: Iterable[Start], *, in_flight: int = 8) -> Iterator[tuple[int, Page]]:
    """Lists, and asks for the next pages while the caller uses those before.

    It keeps no more than two pages for each request in flight. Closing the iterator ends it.

    Args:
        starts: the listings; begun in this order.
        in_flight: how many pages are asked for at a time.

    Yields:
        the number of a listing, from 0, and a page of it. Listings that are under way at the same time come
        interleaved.

    Raises:
        SourceError: a page makes no sense, a listing goes round in circles, or a server names folders that
            are none.
        Exception: the first one that `Start.ask` raised, after the pages that came before it.
    """
    crew = _Crew(in_flight)
    tasks = [_Task(number, start) for number, start in enumerate(starts)]
    crew.add(tasks)
    try:
        while (found := crew.next()) is not None:
            yield found
    finally:
        crew.stop()


@dataclass(frozen=True, slots=True)
class _Task:
    number: int
    start: Start


class _ListingStoppedError(Exception):
    """The caller wants no further pages."""


class _Crew:
    """Threads that ask for pages; each follows one chain of tokens at a time.

    Threads, and no callbacks of the transport: between two pages there may be a pause before the next
    attempt, a redirect to follow, or credentials to renew, each of which waits.
    """

    def __init__(self, max_busy: int) -> None:
        self._max_busy = max_busy
        self._changed = threading.Condition()
        self._tasks: list[_Task] = []
        self._pages: deque[tuple[int, Page]] = deque()
        self._threads = self._busy = 0
        self._error: BaseException | None = None
        self._stopped = False

    def add(self, tasks: list[_Task]) -> None:
        """Adds what is to be done next."""
        with self._changed:
            self._tasks += reversed(tasks)
            wanted = min(self._max_busy, self._busy + len(self._tasks))
            starting, self._threads = wanted - self._threads, max(wanted, self._threads)
            self._changed.notify_all()
        for _ in range(starting):
            # Its log lines name the caller's job.
            run = contextvars.copy_context().run
            threading.Thread(target=run, args=(self._work,), name="forebay-list", daemon=True).start()

    def next(self) -> tuple[int, Page] | None:
        """The next page; ``None`` at the end."""
        with self._changed:
            while not self._pages:
                if self._error is not None:
                    raise self._error
                if not self._busy and not self._tasks:
                    return None
                self._changed.wait()
            self._changed.notify_all()
            return self._pages.popleft()

    def stop(self) -> None:
        """Ends the threads as soon as they have what they are waiting for."""
        with self._changed:
            self._stopped = True
            self._tasks.clear()
            self._pages.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._tasks and self._busy and not self._ended:
                    self._changed.wait()
                if self._ended or not self._tasks:
                    self._threads -= 1
                    self._changed.notify_all()
                    return
                task = self._tasks.pop()
                self._busy += 1
            error: BaseException | None = None
            try:
                self._list(task)
            except _ListingStoppedError:
                pass
            except PageError as raised:
                error = SourceError(task.start.where, str(raised))
            except BaseException as raised:
                error = raised
            with self._changed:
                self._busy -= 1
                self._error = self._error or error
                self._changed.notify_all()

    @property
    def _ended(self) -> bool:
        return self._stopped or self._error is not None

    def _list(self, task: _Task) -> None:
        ask, query, guard = task.start.ask, task.start.query, LoopGuard()
        page = ask(query)
        if task.start.by_folder and page.token and _has_large_folders(page, query.prefix):
            top = ask(replace(query, delimiter="/"))
            if not top.token and 0 < len(top.folders) <= _MAX_FOLDERS:
                self._put(task.number, top)
                self.add(_below(task, top))
                return
        while True:
            guard.check(page)
            token = page.token
            self._put(task.number, page)
            if not token:
                return
            query = replace(query, token=token)
            page = ask(query)

    def _put(self, number: int, page: Page) -> None:
        with self._changed:
            while len(self._pages) >= self._max_busy and not self._ended:
                self._changed.wait()
            if self._ended:
                raise _ListingStoppedError
            self._pages.append((number, page))
            self._changed.notify_all()


def _has_large_folders(page: Page, prefix: str) -> bool:
    """Whether the keys of the first page lie in few folders."""
    start = len(prefix)
    folders = {key[start:].partition("/")[0] for key in page.keys if "/" in key[start:]}
    return bool(folders) and len(page.keys) >= _LEAST_KEYS_IN_FOLDER * len(folders)


def _below(task: _Task, top: Page) -> list[_Task]:
    query, folders = task.start.query, top.folders
    if len(set(folders)) != len(folders) or any(
        not len(query.prefix) < len(folder) <= _MAX_PREFIX or not folder.endswith("/") for folder in folders
    ):
        raise PageError("the listing names folders that are none")
    starts = [replace(task.start, query=replace(query, prefix=folder)) for folder in folders]
    return [_Task(task.number, start) for start in starts]
