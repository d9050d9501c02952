"""Prefetches on an empty cache, beside the other tools; everything with default settings, unless named."""

from __future__ import annotations

from bench.budgets import Bound, MemoryBound
from bench.rounds import Row
from bench.tools import curl, forebay, msc, python, rclone, s5cmd
from bench.transfers import Comparison

_OURS, _FLEET = forebay.local.name, forebay.fleet.name
_BARE = (python.libcurl_256.name,)
_BEST_RCLONE = (
    rclone.defaults.name,
    rclone.sixty_four.name,
    rclone.best_16.name,
    rclone.best_64.name,
)

small = Comparison(
    "small",
    "plain",
    rows=(
        Row(python.libcurl_16, quick=True),
        Row(python.libcurl_256),
        Row(forebay.local, quick=True),
        Row(rclone.best_16, quick=True),
        Row(rclone.best_64),
        Row(rclone.sixty_four),
        Row(rclone.defaults),
        Row(s5cmd.defaults),
        Row(forebay.fleet),
        Row(python.obstore),
        Row(python.boto3, rounds=2),
        Row(msc.sync, rounds=2),
    ),
    bounds=(
        Bound("no latency: Forebay / rclone at its best", _OURS, _BEST_RCLONE, least=1.5),
        Bound(
            "no latency: CPU of Forebay / bare libcurl loop",
            _OURS,
            (python.libcurl_16.name, *_BARE),
            most=1.6,
        ),
        Bound("no latency: one worker of the fleet / local", _FLEET, (_OURS,), least=0.8),
        MemoryBound("no latency: memory of Forebay", _OURS, 256 * 1.048576),
    ),
)


def _late(what: str) -> tuple[Bound | MemoryBound, ...]:
    return (
        Bound(f"{what}: Forebay / s5cmd", _OURS, (s5cmd.defaults.name,), least=3.0),
        Bound(f"{what}: Forebay / rclone, 64 transfers", _OURS, (rclone.sixty_four.name,), least=1.4),
        Bound(f"{what}: Forebay / bare loop, 256 in flight", _OURS, _BARE, least=0.6),
        MemoryBound(f"{what}: memory of Forebay", _OURS, 256 * 1.048576),
    )


_LATE_ROWS = (
    Row(python.libcurl_256, quick=True),
    Row(forebay.local, quick=True),
    Row(rclone.sixty_four, quick=True),
    Row(s5cmd.defaults, quick=True),
    Row(rclone.best_64),
)
_OTHER_SCHEMES = (
    Row(forebay.google, quick=True),
    Row(forebay.azure, quick=True),
    Row(forebay.web, quick=True),
)
_SLOW_ROWS = (Row(rclone.defaults, rounds=1), Row(python.boto3, rounds=1), Row(msc.sync, rounds=1))

late = Comparison(
    "late",
    "late",
    rows=(*_LATE_ROWS, Row(forebay.fleet, quick=True), *_SLOW_ROWS),
    bounds=(
        *_late("30 ms"),
        Bound("30 ms: one worker of the fleet / local", _FLEET, (_OURS,), least=0.8),
    ),
)
late_tls = Comparison(
    "late-tls",
    "late-tls",
    rows=(*_LATE_ROWS, *_OTHER_SCHEMES, *_SLOW_ROWS),
    bounds=(
        *_late("30 ms, TLS"),
        Bound("30 ms, TLS: gs:// / s3://", forebay.google.name, (_OURS,), least=0.9),
        Bound("30 ms, TLS: az:// / s3://", forebay.azure.name, (_OURS,), least=0.9),
        Bound("30 ms, TLS: https:// / s3://", forebay.web.name, (_OURS,), least=0.9),
    ),
)
large = Comparison(
    "large",
    "plain",
    rows=(
        Row(curl.curl, quick=True),
        Row(rclone.one, quick=True),
        Row(s5cmd.one, quick=True),
        Row(forebay.local, quick=True),
    ),
    bounds=(
        Bound(
            "one large object: Forebay / the best of curl, rclone and s5cmd",
            _OURS,
            (curl.curl.name, rclone.one.name, s5cmd.one.name),
            least=0.95,
        ),
        MemoryBound("one large object: memory of Forebay", _OURS, 150),
    ),
    objects="one",
)
