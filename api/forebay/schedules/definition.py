"""What a standing prefetch is, and its last run; both are JSON in Redis."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from forebay.config.freshness import Update
from forebay.config.sizes import parse_duration
from forebay.errors import ConfigError, UriError
from forebay.manifests.braces import expand_braces
from forebay.manifests.manifest import ManifestOptions
from forebay.manifests.prefixes import check_target
from forebay.schedules import recurrence
from forebay.uri import is_local, shown

RunState = Literal["starting", "running", "done", "failed"]
"""``starting`` (its objects are being listed), ``running``, ``done``, or ``failed``."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


@dataclass(frozen=True)
class Definition:
    """A standing prefetch.

    Attributes:
        targets: objects, prefixes, and remote manifests as ``@s3://bucket/list.csv``.
        every: seconds from one run to the next; ``None`` with ``cron``.
        cron: the times of its runs, as ``0 3 * * *``.
        zone: the time zone of ``cron``.
        lease: how long a run keeps its samples from eviction, in seconds.
        update: as `forebay.config.freshness.Update`.
        include, exclude: patterns of the objects that are wanted, or not.
        column, checksum, root, kind: how manifests are read.
        parts: the bytes of each object that are wanted, as `text_of_parts` writes them; empty for all.
        created: when it was added, in seconds since the epoch.
    """

    targets: tuple[str, ...]
    every: float | None = None
    cron: str | None = None
    zone: str = "UTC"
    lease: float | None = None
    update: Update = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    column: str | None = None
    checksum: str | None = None
    root: str | None = None
    kind: str | None = None
    parts: str = ""
    created: float = 0.0

    def checked(self) -> Definition:
        """The same, if it can be run.

        Raises:
            ConfigError: a time or a duration is none.
            UriError: a target is none, or one that workers cannot read.
        """
        every = recurrence.check(self.every, self.cron, self.zone)
        for name in ("column", "checksum", "root", "kind"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigError(f"{name}={shown(getattr(self, name))} must be text")
        self.options()
        if not self.targets:
            raise UriError("a schedule needs something to fetch, such as s3://bucket/train/")
        for target in self.targets:
            _check(target)
        lease = None if self.lease is None else parse_duration(self.lease)
        update = self.update if isinstance(self.update, bool) else parse_duration(self.update)
        return replace(self, every=every, lease=lease, update=update)

    def options(self) -> ManifestOptions:
        """How its manifests are read.

        Raises:
            UriError: they cannot be read so.
        """
        return ManifestOptions(self.column, self.checksum, self.root, self.kind)  # type: ignore[arg-type]  # it looks at the kind

    def next_time(self, due: float, now: float) -> float:
        """When it is due next after ``now``, if it was due last at ``due``."""
        return recurrence.next_time(self.every, self.cron, self.zone, due, now)

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Definition | None:
        """What `text` has written; ``None`` for anything else, as Redis may hold anything."""
        found = _known(cls, text)
        try:
            lists = {name: tuple(map(str, found[name])) for name in ("targets", "include", "exclude")}
            return cls(**(found | lists | {"created": float(found["created"])})).checked()
        except (ConfigError, UriError, TypeError, ValueError, KeyError, AttributeError):
            return None


@dataclass(frozen=True)
class ScheduledRun:
    """One run of a standing prefetch.

    Attributes:
        state: see `RunState`.
        job: the id of its job; empty where none was made.
        due: when it was due, in seconds since the epoch.
        begun, ended: when it began, and when its job had ended; 0 before that.
        total, downloaded, failed: samples of the job, once that has ended.
        error: why no job could be made.
        leases: of former runs, and of this one once it has ended, that the next one that succeeds ends.
    """

    state: RunState
    job: str = ""
    due: float = 0.0
    begun: float = 0.0
    ended: float = 0.0
    total: int = 0
    downloaded: int = 0
    failed: int = 0
    error: str = ""
    leases: tuple[str, ...] = field(default=())

    @property
    def is_active(self) -> bool:
        """Whether it has begun, and not ended."""
        return self.state in ("starting", "running")

    def text(self) -> str:
        """This as JSON, for its record in Redis."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> ScheduledRun | None:
        """What `text` has written; ``None`` for anything else."""
        found = _known(cls, text)
        if found.get("state") not in ("starting", "running", "done", "failed"):
            return None
        numbers = (found.get(name, 0) for name in ("due", "begun", "ended", "total", "downloaded", "failed"))
        leases = found.get("leases")
        if not isinstance(leases, list) or not all(isinstance(one, int | float) for one in numbers):
            return None
        return cls(**(found | {"leases": tuple(map(str, leases)), "job": str(found.get("job", ""))}))


def check_name(name: str) -> str:
    """The name of a standing prefetch.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise ConfigError(
            f"{shown(name)} is no name of a schedule: it must begin with a letter or digit, and have at most "
            "63 letters, digits, dots, underscores and hyphens"
        )
    return name


def targets_of(targets: str | Sequence[str]) -> tuple[str, ...]:
    """One target or several.

    Raises:
        ConfigError: they are no text.
    """
    return (targets,) if isinstance(targets, str) else texts_of("targets", targets)


def texts_of(name: str, given: Sequence[str]) -> tuple[str, ...]:
    """The texts of an argument of that name, which is a list of them.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(given, list | tuple | set | frozenset) and all(isinstance(one, str) for one in given):
        return tuple(given)
    raise ConfigError(f"{name}={shown(given)} must be a list of texts")


def _check(target: str) -> None:
    if target == "-" or (target.startswith("@") and is_local(target[1:])):
        raise UriError(
            f"{shown(target)} can be read by this process only, and workers run the schedule: write the list "
            "to a bucket, and name it as @s3://bucket/list.csv"
        )
    for each in expand_braces(target.removeprefix("@")):
        if is_local(each):
            raise UriError(f"{shown(each)} is a local path, which needs no cache", uri=each)
        if not target.startswith("@"):
            check_target(each)
        break


def _known(kind: type[Definition] | type[ScheduledRun], text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    names = kind.__dataclass_fields__
    return {name: value for name, value in found.items() if name in names} if isinstance(found, dict) else {}
