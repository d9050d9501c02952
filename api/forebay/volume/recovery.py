"""Bringing index and disk back together after a crash, while the cache serves.

Three things can have happened. A process died with downloads under way: `reap` removes its partial
files, keeps what it had finished, and frees what it had reserved. Redis was started empty, or lost
its last moments: `recover` counts what lies on the volume before anything more is written, so that
the limit holds, and `sweep` then takes the files into the index bit by bit. A file was removed by
hand: `sweep` drops its entry.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from forebay.index import Entry
from forebay.index.index import batches
from forebay.volume.session import ended_here, is_evictor_token

if TYPE_CHECKING:
    from forebay.volume.volume import Volume

log = logging.getLogger(__name__)

_LOCK_SECONDS = 30.0


def reap(volume: Volume, session: str) -> None:
    """Cleans up after a session that has ended. Doing so twice, or by two at once, does no harm."""
    index = volume.index
    for entry, token in index.claims().items():
        if token.rpartition(".")[0] == session:
            _settle(volume, entry, token)
    for name in os.listdir(volume.layout.temporary_dir):
        if name.startswith(session + "."):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(volume.temporary(name))
    index.reap(session)


def _settle(volume: Volume, entry: str, token: str) -> None:
    """Ends one claim of a session that is no more."""
    # Without its partial file a late owner can no longer publish: its rename fails.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(volume.temporary(token))
    path = volume.locate(entry)
    [known] = volume.index.values([entry])
    if path is None:
        if known is not None:
            volume.index.forget([(entry, known.format())], token)
    elif not is_evictor_token(token):
        with contextlib.suppress(FileNotFoundError):
            volume.index.adopt([describe(entry, path)], token=token)
    volume.index.release([(entry, token)])


def describe(entry: str, path: str) -> tuple[str, int, float, str]:
    """What the index is told of a file: entry, size in bytes, access time and value."""
    found = os.stat(path)
    value = Entry(found.st_size, "", int(found.st_ctime))
    return entry, found.st_size, found.st_atime, value.format()


def reap_ended(volume: Volume) -> int:
    """Cleans up after every session that has expired, or whose process is known to be gone."""
    ended = [session for session, seconds in volume.index.sessions() if seconds <= 0 or ended_here(session)]
    for session in ended:
        log.info(
            "freeing what session %s had under way: its process has ended, or was out of touch with Redis",
            session,
        )
        reap(volume, session)
    return len(ended)


def recover(volume: Volume, run_id: str) -> None:
    """Accounts for what lies on the volume, unless that was done since Redis was started.

    Redis may have forgotten its last moments: which claims had ended, which bytes were reserved. So all
    sessions end, and whoever had one begins another; what they had under way is fetched again.

    Downloads wait for this, hits do not. Counting 100,000 files takes a fraction of a second.

    Args:
        run_id: what tells this start of Redis from others.
    """
    connection, keys = volume.index.connection, volume.index.keys
    # A lock of an earlier start may have come back with the server; it is not this one.
    lock = f"{keys.recovery}:{run_id}"
    while connection.command("hget", keys.meta, "run_id") != run_id:
        token = f"recovery.{os.getpid()}.{time.monotonic_ns()}"
        if not volume.index.lock(lock, token, _LOCK_SECONDS):
            time.sleep(0.02)
            continue
        try:
            for session in _remembered_sessions(volume):
                reap(volume, session)
            directories = (volume.layout.media_dir, volume.layout.temporary_dir)
            on_disk = sum(size for directory in directories for _, size in _files(directory))
            unindexed = max(0, on_disk - volume.index.totals().published)
            state = {"unindexed": unindexed, "run_id": run_id, "swept": int(not unindexed)}
            connection.command("hset", keys.meta, mapping=state)
            # Redis may have forgotten that a lock was given back.
            connection.command("unlink", keys.maintenance, keys.evictor)
        finally:
            volume.index.lock(lock, token, 0)


def _remembered_sessions(volume: Volume) -> set[str]:
    index = volume.index
    claiming = {token.rpartition(".")[0] for token in index.claims().values()}
    reserving = set(index.connection.command("hkeys", index.keys.reserved))
    return claiming | reserving | {session for session, _ in index.sessions()}


def needs_sweep(volume: Volume) -> bool:
    """Whether files are waiting to be taken into the index."""
    return str(volume.index.connection.command("hget", volume.index.keys.meta, "swept")) != "1"


def sweep(volume: Volume, keep_lock: Callable[[], object]) -> tuple[int, int]:
    """Compares every file with the index, and every entry with the disk.

    Args:
        keep_lock: called after every batch, to prolong the caller's lock.

    Returns:
        how many files were taken into the index, and how many entries were dropped because their files
        are missing or damaged.
    """
    index, layout = volume.index, volume.layout
    adopted = dropped = 0
    for batch in batches(_files(layout.media_dir)):
        records = []
        for path, _ in batch:
            entry = layout.entry(path)
            if entry is not None:
                with contextlib.suppress(FileNotFoundError):
                    records.append(describe(entry, path))
        known = index.values([entry for entry, *_ in records])
        pairs = list(zip(records, known, strict=True))
        adopted += index.adopt([record for record, value in pairs if value is None], counted=True)
        dropped += _remove_damaged(
            volume, [r[0] for r, value in pairs if value is not None and value.size != r[1]]
        )
        keep_lock()
    for page in index.scan():
        gone = [(entry, value) for entry, value in page if volume.locate(entry) is None]
        dropped += index.forget(gone)
        keep_lock()
    _remove_strays(volume)
    # What is left is not ours (somebody's notes, say): it stays where it is, and stays counted.
    foreign = sum(size for path, size in _files(layout.media_dir) if layout.entry(path) is None)
    index.connection.command("hset", index.keys.meta, mapping={"unindexed": foreign, "swept": 1})
    return adopted, dropped


def _remove_damaged(volume: Volume, entries: list[str]) -> int:
    """Removes files that do not have the size that they had when they were published: a machine that lost
    its power leaves such. Returns how many there were."""
    if not entries:
        return 0
    token, answers = volume.session.claim_to_evict(entries)
    removed = 0
    for entry, answer in zip(entries, answers, strict=True):
        path = volume.locate(entry)
        if not answer.granted or path is None:
            continue
        with contextlib.suppress(FileNotFoundError):
            if answer.value and os.stat(path).st_size != Entry.parse(answer.value).size:
                log.warning("%s is damaged: it is removed, and downloaded again when it is needed", path)
                volume.remove(entry)
                removed += 1
                volume.index.commit_victims(token, [(entry, "gone")])
    volume.index.release([(entry, token) for entry in entries])
    return removed


def _remove_strays(volume: Volume) -> None:
    """Removes partial files of sessions that nobody remembers."""
    known = {session for session, _ in volume.index.sessions()}
    for name in os.listdir(volume.layout.temporary_dir):
        if name.rpartition(".")[0] not in known and not name.startswith("probe."):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(volume.temporary(name))


def _files(directory: str) -> Iterator[tuple[str, int]]:
    """Every file below ``directory`` with its size in bytes."""
    try:
        with os.scandir(directory) as found:
            for item in found:
                try:
                    if item.is_dir(follow_symlinks=False):
                        yield from _files(item.path)
                    else:
                        yield item.path, item.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    except (FileNotFoundError, NotADirectoryError):
        return
