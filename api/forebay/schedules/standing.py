"""The standing prefetches of a volume, as users hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forebay.cache import MediaCache
from forebay.config.freshness import Update
from forebay.errors import ConfigError, ForebayError
from forebay.fetch.wanted_parts import Parts, text_of_parts
from forebay.schedules.definition import Definition, ScheduledRun, check_name, targets_of, texts_of
from forebay.uri import redact, shown


@dataclass(frozen=True)
class ScheduleStatus:
    """A standing prefetch at one moment.

    Attributes:
        name: its name.
        targets: what it fetches, without secrets.
        every: seconds from one run to the next; ``None`` for one with ``cron``.
        cron: the times of its runs; ``None`` for one with ``every``.
        zone: the time zone of ``cron``.
        lease: how long a run keeps its samples, in seconds; ``None`` for not at all.
        paused: whether it is paused.
        next: when it runs next, in seconds since the epoch; ``None`` while it is paused.
        last: its last run, which may be going on; ``None`` before the first.
    """

    name: str
    targets: tuple[str, ...]
    every: float | None
    cron: str | None
    zone: str
    lease: float | None
    paused: bool
    next: float | None
    last: ScheduledRun | None


class Schedules:
    """The standing prefetches of a volume: the volume's workers run them.

    Args:
        cache: of the volume; by default one of the settings' volume.
    """

    def __init__(self, cache: MediaCache | None = None) -> None:
        self._cache = MediaCache() if cache is None else cache

    def add(
        self,
        name: str,
        targets: str | Sequence[str],
        *,
        every: float | str | None = None,
        cron: str | None = None,
        zone: str = "UTC",
        lease: float | str | None = None,
        update: Update = False,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        column: str | None = None,
        checksum: str | None = None,
        root: str | None = None,
        kind: str | None = None,
        parts: Parts | None = None,
    ) -> ScheduleStatus:
        """Adds a standing prefetch. Its first run begins at once, or at the first time of ``cron``.

        Args:
            name: of letters, digits, dots, underscores and hyphens.
            targets: objects, prefixes such as ``s3://bucket/train/``, and manifests in a bucket as
                ``@s3://bucket/list.csv``; all are listed anew in each run.
            every: the time from one run to the next, in seconds or as ``1h``.
            cron: the times of its runs, as ``0 3 * * *``.
            zone: the time zone of ``cron``.
            lease: how long each run keeps its samples from eviction, in seconds or as ``2h``. The lease of a
                run replaces that of the run before when all its samples are there.
            update: as `MediaCache.download_media`.
            include: patterns as ``*.jpg`` of the objects that are wanted; by default all.
            exclude: patterns of those that are not.
            column: of a manifest, as for `Manifest`.
            checksum: likewise.
            root: likewise.
            kind: likewise.
            parts: the bytes of each object that are wanted; by default all.

        Raises:
            ConfigError: an argument is not allowed, or there is a schedule of that name.
            UriError: a target is none, or one that workers cannot read.
        """
        now = self._cache.engine.open_index().connection.time()
        definition = Definition(
            targets_of(targets),
            every,  # type: ignore[arg-type]  # which becomes seconds
            cron,
            zone,
            lease,  # type: ignore[arg-type]  # as this
            update,
            texts_of("include", include),
            texts_of("exclude", exclude),
            column,
            checksum,
            root,
            kind,
            "" if parts is None else text_of_parts(parts),
            now,
        ).checked()
        due = now if definition.every is not None else definition.next_time(now, now)
        records = self._cache.engine.open_index().schedules
        if not records.add(check_name(name), definition.text(), due):
            raise ConfigError(f"there is a schedule {name!r} already: remove it, or take another name")
        return self.get(name)

    def list(self) -> list[ScheduleStatus]:
        """Every standing prefetch of the volume, by name."""
        found = []
        for name, record in self._cache.engine.open_index().schedules.all().items():
            definition = Definition.parse(record.text) or Definition(())
            found.append(
                ScheduleStatus(
                    name,
                    tuple(map(_shown, definition.targets)),
                    definition.every,
                    definition.cron,
                    definition.zone,
                    definition.lease,
                    record.paused,
                    record.due,
                    ScheduledRun.parse(record.run),
                )
            )
        return found

    def get(self, name: str) -> ScheduleStatus:
        """The standing prefetch of that name.

        Raises:
            ForebayError: there is none.
        """
        for status in self.list():
            if status.name == name:
                return status
        raise self._missing(name)

    def pause(self, name: str) -> None:
        """Has one not run any more until it is resumed; a run that has begun goes on.

        Raises:
            ForebayError: there is none of that name.
        """
        self._done(name, self._cache.engine.open_index().schedules.pause(name))

    def resume(self, name: str) -> None:
        """Ends a pause: it runs at its next time, and does not catch up on those that have passed.

        Raises:
            ForebayError: there is none of that name.
        """
        index = self._cache.engine.open_index()
        records, now = index.schedules, index.connection.time()
        record = records.all().get(name)
        definition = None if record is None else Definition.parse(record.text)
        if definition is None:
            raise self._missing(name)
        self._done(name, records.resume(name, definition.next_time(definition.created, now)))

    def run(self, name: str) -> None:
        """Has a worker run one now, also where it is paused. Its further times stay as they are.

        Raises:
            ForebayError: there is none of that name.
        """
        index = self._cache.engine.open_index()
        self._done(name, index.schedules.set_due(name, index.connection.time()))

    def remove(self, name: str) -> None:
        """Removes one. A run that has begun goes on, and leases last until they expire.

        Raises:
            ForebayError: there is none of that name.
        """
        self._done(name, self._cache.engine.open_index().schedules.remove(name))

    def _done(self, name: str, is_there: bool) -> None:
        if not is_there:
            raise self._missing(name)

    def _missing(self, name: str) -> ForebayError:
        volume = self._cache.config.volume
        return ForebayError(
            f"volume {volume!r} has no schedule {shown(name)}: `forebay schedule list` lists the schedules"
        )


def _shown(target: str) -> str:
    return f"@{redact(target[1:])}" if target.startswith("@") else redact(target)
