"""Rules for prefixes of URIs, such as ``s3://team-*/videos/``, of which the most specific one applies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from forebay.uri.aliases import canonical
from forebay.uri.parsing import MediaURI

_Rule = TypeVar("_Rule", bound="PrefixRule")

_PREFIX = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)/?(.*)\Z", re.DOTALL)
_WILDCARD = re.compile(r"[*?]")


def split(prefix: str) -> tuple[str, str, str]:
    """The scheme of a prefix, in lower case, its bucket or pattern of buckets, and its key."""
    match = _PREFIX.match(prefix)
    return (match[1].lower(), match[2], match[3]) if match else ("", "", "")


@dataclass(frozen=True, eq=False)
class PrefixRule:
    """A rule for the URIs below one prefix.

    Of the rules that hold a URI, one applies: one that names the bucket before one with wildcards in the
    bucket's name, and this before one for the whole scheme; then the one with more characters of the bucket's
    name, wildcards not counted; then the one with the longer key; then the one with fewer ``*``.

    Attributes:
        prefix: as the setting has it.
        scheme: of the URIs.
        bucket: or host, in which ``*`` and ``?`` are wildcards; empty for all of the scheme.
        key: what keys are, or lie below; empty for all.
        names: the pattern of the bucket, if it has wildcards.
    """

    prefix: str
    scheme: str
    bucket: str
    key: str
    names: re.Pattern[str] | None

    @property
    def rank(self) -> tuple[bool, int, int, int, str]:
        """By this, the most specific rule comes last."""
        literal = _WILDCARD.sub("", self.bucket)
        key = len(self.key.rstrip("/"))
        return literal == self.bucket != "", len(literal), key, -self.bucket.count("*"), self.prefix

    def holds(self, uri: MediaURI) -> bool:
        """Whether the rule is for a URI."""
        if uri.scheme != self.scheme:
            return False
        if self.bucket and not (self.names.match(uri.bucket) if self.names else self.bucket == uri.bucket):
            return False
        key = self.key
        return not key or uri.key == key or uri.key.startswith(key.rstrip("/") + "/")


def ranked(rules: Iterable[_Rule]) -> list[_Rule]:
    """Rules, the most specific first."""
    return sorted(rules, key=lambda rule: rule.rank, reverse=True)


def rule_parts(prefix: str) -> tuple[str, str, str, str, re.Pattern[str] | None]:
    """What a `PrefixRule` is made of."""
    scheme, bucket, key = split(prefix)
    return prefix, canonical(scheme), bucket, key, _pattern(bucket)


@lru_cache(maxsize=256)
def _pattern(bucket: str) -> re.Pattern[str] | None:
    """The pattern of a bucket's name with wildcards; brackets are no wildcards."""
    if not _WILDCARD.search(bucket):
        return None
    from fnmatch import translate  # Few rules need it.

    return re.compile(translate(bucket.replace("[", "[[]")))
