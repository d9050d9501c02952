"""What a process opens to use the index of a volume.

A hit does without, and so does this module without what only downloads and evictions need (see
`forebay.writable`): each import takes its time.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from forebay import forks
from forebay.config import MediaCacheConfig
from forebay.embedded import EarlyStart, stop_unused
from forebay.errors import IndexUnavailableError, VolumeError
from forebay.index import Index
from forebay.index.connection import Connection
from forebay.jobs.creation import JobMaker
from forebay.jobs.dispatcher import Dispatcher
from forebay.volume.absent_files import AbsentFiles
from forebay.volume.ownership import is_shared, join, not_shared
from forebay.volume.recovery import Recovery

if TYPE_CHECKING:
    from forebay.writable import Holder, Writable

log = logging.getLogger(__name__)

# How long a process that ends waits for the embedded index, which it ends.
_STOP_SECONDS = 5.0
# A process that meets these may still read the volume.
_READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Opened:
    """The connection and the objects that a process needs to use a volume's index.

    Args:
        engine: for which they are opened.
        server: the start of the embedded server, which is under way; ``None`` for another Redis.

    Attributes:
        writable: what the process needs beside them to change the volume, once it does.
        refusal: why it cannot write the directory, if it cannot.
    """

    def __init__(self, engine: Holder, server: EarlyStart | None) -> None:
        config, files = engine.config, engine.files
        self.writable: Writable | None = None
        self.refusal: VolumeError | None = None
        absent = isinstance(files, AbsentFiles)
        if not absent:
            try:
                files.prepare()
            except VolumeError as error:
                if error.errno not in _READ_ONLY:
                    raise
                if config.redis_url is None:
                    raise not_shared(config) or error from None
                self.refusal = error
        self._engine = engine
        self._is_brief = server is not None and config.limit is None
        self.connection = _connect(config, server)
        self.index = Index(self.connection, config.volume)
        run_id = self.index.connection.check()
        self.recovery = Recovery(self.index, files, run_id, lambda: join(config, self.index))
        if self.refusal is not None:
            if not is_shared(config, self.index):
                raise not_shared(config) or self.refusal
            self.refusal = _read_only(config, self.refusal)
        elif not absent:
            join(config, self.index)
            self.recovery.run(run_id)
        self.dispatcher = Dispatcher(
            config,
            self.index,
            engine.open_fetcher,
            engine.open_session,
            lambda: None if self.writable is None else self.writable.session.id,
            engine.check_writable,
            engine.take_helpers,
        )
        self.job_maker = JobMaker(self.index, self.recovery, files, engine.counters, self.dispatcher)

    def flush(self) -> None:
        """Tells the index which entries were used."""
        touched = self._engine.files.take_touched()
        if touched:
            self.index.entries.touch(touched)

    def close(self) -> None:
        self.dispatcher.close()
        if self.writable is not None:
            self.writable.heartbeat.stop()
            self.writable.share.stop()
        steps: list[Callable[[], object]] = [self.flush, lambda: self._engine.counters.flush(self.index)]
        if self.writable is not None:
            session = self.writable.session
            session.end()
            reap = partial(self.recovery.reap, session.id)
            # Other threads may have claimed more meanwhile; after the first time, they cannot.
            steps = [reap, *steps, reap]
        for step in steps:
            try:
                step()
            except IndexUnavailableError:
                # The others would wait for Redis as long again. What is left of the session expires.
                break
            except Exception as error:
                log.debug("while the cache was closed: %s", error)
        self.connection.close()
        if self._is_brief:
            try:
                stop_unused(self._engine.config.cache_dir, timeout_seconds=_STOP_SECONDS)
            except IndexUnavailableError as error:
                log.debug("%s", error)


def _connect(config: MediaCacheConfig, server: EarlyStart | None) -> Connection:
    if server is None:
        assert config.redis_url is not None
        return Connection(config.redis_url)
    # While the server starts, the client is imported, and then what downloads: where there was no server,
    # there are mostly no files either.
    with forks.setting_up():
        import redis  # noqa: F401

        if server.is_under_way:
            import forebay.writable  # noqa: F401
    return Connection(server.url(), restart=server.start)


def _read_only(config: MediaCacheConfig, refusal: VolumeError) -> VolumeError:
    reason, remedy = "belongs to another user, and this user can only read it", "run as that user"
    if refusal.errno == errno.EROFS:
        reason, remedy = "is mounted read-only on this machine", "mount it for writing"
    return VolumeError(
        f"the volume {config.volume!r} at {config.cache_dir} {reason}: let its workers fetch missing "
        f"samples, with `forebay prefetch`, or {remedy}",
        volume=config.volume,
        path=config.cache_dir,
        errno=refusal.errno,
    )
