"""The parts of the benchmark by name, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.budgets import Verdict
from bench.report import Section
from bench.rows import again, fetching, index, listing
from bench.scale import Scale
from bench.transfers import compare, objects

_MANY = (fetching.late, fetching.late_tls, fetching.small)
_OTHERS: dict[str, Callable[[Scale], Section]] = {
    "listing": listing.measure,
    "second": again.second,
    "hit": again.hit,
    "startup": again.startup,
    "index": index.size,
    "evict": index.evict,
}
NAMES = (*(one.name for one in _MANY), fetching.large.name, *_OTHERS)


def measure(names: tuple[str, ...], scale: Scale) -> Iterator[Section]:
    """Measures the parts with these names, one after the other."""
    many = [one for one in _MANY if one.name in names]
    if many:
        with objects("many", scale) as there:
            for one in many:
                yield compare(one, there, scale)
    if fetching.large.name in names:
        with objects("one", scale) as there:
            yield compare(fetching.large, there, scale)
    for name, part in _OTHERS.items():
        if name in names:
            yield _attempt(name, part, scale)


def _attempt(name: str, part: Callable[[Scale], Section], scale: Scale) -> Section:
    """The rest is measured even if one part fails."""
    try:
        return part(scale)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        return Section(name, [f"Not measured: {why}"], verdicts=[Verdict.unmeasured(name, "", why)])
