"""What a target stands for: one object, or all below a prefix; and which of those are wanted.

Commands look at their targets before they load what lists them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from forebay.uri import STORES, entry_of, parse
from forebay.uri.aliases import canonical
from forebay.uri.redaction import SCHEME

_BUCKET = re.compile(rf"{SCHEME.pattern}[^/]*(?:/|\Z)")


def is_prefix(target: str) -> bool:
    """Whether a target stands for all objects below it: it ends in ``/``, or is a bucket alone."""
    match = _in_store(target)
    return match is not None and (target.endswith("/") or match.end() == len(target))


def looks_like_prefix(target: str) -> bool:
    """Whether a target stands for an object without an extension, and may have been meant for a prefix."""
    return _in_store(target) is not None and not is_prefix(target) and "." not in target.rpartition("/")[2]


def _in_store(target: str) -> re.Match[str] | None:
    match = _BUCKET.match(target)
    return match if match is not None and canonical(match[1].lower()) in STORES else None


def check_target(target: str) -> None:
    """Checks a remote target.

    Raises:
        UriError: it names neither an object nor a prefix.
    """
    if is_prefix(target):
        parse(target)
    else:
        entry_of(target)


@dataclass(frozen=True)
class Filter:
    """Selects objects by globs over their keys, in which ``*`` matches ``/`` as well.

    A glob matches a key, or the end of one that follows a ``/``: ``*.jpg`` matches ``a/b.jpg``, and
    ``train/*`` matches ``data/train/b.jpg``.

    Attributes:
        include: an object must match one of these, if there are any.
        exclude: an object must match none of these.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def admits(self, uri: str) -> bool:
        if not self.include and not self.exclude:
            return True
        key = uri.partition("://")[2].partition("/")[2]
        return (not self.include or _matches(key, self.include)) and not _matches(key, self.exclude)


EVERYTHING = Filter()


def _matches(key: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(key, glob) or fnmatchcase(key, f"*/{glob}") for glob in globs)
