"""How long a copy is handed out before its source is asked whether it is still the same."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Protocol

from forebay.config.kinds import SECONDS, NotAllowedError, bounded
from forebay.config.sizes import parse_duration
from forebay.uri import REMOTE_SCHEMES, MediaURI, parse, shown
from forebay.uri.aliases import canonical
from forebay.uri.prefix_rules import PrefixRule, ranked, rule_parts, split

Update = bool | float | str
"""Whether to ask the sources of cached objects: always, or if they were asked last longer ago than a
duration, in seconds or as ``7d``; false to go by the settings ``max_age`` and ``max_ages``."""

# A time, in seconds since the epoch, later than that of any check.
_ALWAYS_SINCE = 1e18
_NO, _YES = "0", "1"
AGE = bounded(SECONDS, above=0)


class Ages(Protocol):
    """The settings that this module reads."""

    max_age: float | None
    max_ages: dict[str, float | None]


class Freshness:
    """When a copy must have been fetched, or checked last, to be taken as it is.

    Args:
        at: the time from which ages count back, in seconds since the epoch.
        age: the maximum age in seconds; ``None`` for none, so that nothing is checked.
        ages: the same for prefixes of URIs, of which the most specific one applies.
    """

    def __init__(self, at: float, age: float | None, ages: Mapping[str, float | None] | None = None) -> None:
        self._at = at
        self._age = age
        self._ages = dict(ages or {})
        self._rules: list[tuple[PrefixRule, float | None]] = [
            (rule, self._ages[rule.prefix])
            for rule in ranked(PrefixRule(*rule_parts(prefix)) for prefix in self._ages)
        ]

    @property
    def is_always(self) -> bool:
        """Whether every copy is checked, however new it is."""
        return self._at >= _ALWAYS_SINCE

    @property
    def is_by_age(self) -> bool:
        """Whether some copies are checked, those that are old."""
        return not self.is_always and (self._age is not None or any(self._ages.values()))

    def age(self, uri: MediaURI) -> float | None:
        """The maximum age of a URI's copy, in seconds; ``None`` for none."""
        return next((age for rule, age in self._rules if rule.holds(uri)), self._age)

    def since(self, uri: MediaURI | str) -> float:
        """When the copy of a URI must have been checked last at the earliest, in seconds since the epoch.

        Raises:
            UriError: as `forebay.uri.parse`.
        """
        # Without rules, nothing has to be parsed.
        age = self._age if not self._rules else self.age(parse(uri) if isinstance(uri, str) else uri)
        return 0.0 if age is None else self._at - age

    def text(self) -> str:
        """This for the record of a job, which `of_text` reads."""
        if self.is_always:
            return _YES
        return json.dumps([self._at, self._age, self._ages]) if self.is_by_age else _NO


NEVER = Freshness(0.0, None)
ALWAYS = Freshness(_ALWAYS_SINCE, 0.0)


def of_settings(config: Ages) -> Freshness:
    """What the settings say, from now back."""
    if config.max_age is None and not config.max_ages:
        return NEVER
    return Freshness(time.time(), config.max_age, config.max_ages)


def of_update(update: Update, config: Ages) -> Freshness:
    """What the argument ``update`` of a call says, else the settings.

    Raises:
        ConfigError: it is neither a truth value nor a duration.
    """
    if isinstance(update, bool) or update is None:
        return ALWAYS if update else of_settings(config)
    return Freshness(time.time(), parse_duration(update))


def of_text(text: str) -> Freshness:
    """What `Freshness.text` has written; `NEVER` for anything else, as Redis may hold anything."""
    if text == _YES:
        return ALWAYS
    try:
        at, age, ages = json.loads(text)
        return Freshness(float(at), _age(age), {str(prefix): _age(one) for prefix, one in ages.items()})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return NEVER


def by_prefix(value: Any) -> dict[str, float | None]:
    """The value of the setting ``max_ages``, checked.

    Raises:
        NotAllowedError: a prefix or an age is none.
    """
    if not isinstance(value, dict):
        raise NotAllowedError("must map prefixes such as 's3://bucket/' to durations such as '7d'")
    return {prefix: _checked(prefix, age) for prefix, age in value.items()}


def check_schemes(ages: Mapping[str, float | None]) -> None:
    """Checks the prefixes once the aliases are known.

    Raises:
        NotAllowedError: one has a scheme that Forebay cannot fetch.
    """
    for prefix in ages:
        if canonical(split(prefix)[0]) not in REMOTE_SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in REMOTE_SCHEMES)
            raise NotAllowedError(f"{shown(prefix)} must begin with one of {known}, or with an alias")


def _checked(prefix: str, age: Any) -> float | None:
    scheme, bucket, key = split(prefix)
    if not scheme:
        raise NotAllowedError(f"{shown(prefix)} is not a URI prefix such as s3://bucket/ or https://host/")
    if not bucket and key:
        raise NotAllowedError(f"{shown(prefix)} names a key but no bucket")
    if any(sign in key for sign in "*?"):
        raise NotAllowedError(f"{shown(prefix)}: wildcards may stand in the bucket's name only")
    if age is None:
        return None
    try:
        return float(AGE.convert(age))
    except NotAllowedError as error:
        raise NotAllowedError(f"{shown(prefix)}: {error}; expected a duration such as 7d, or null") from None


def _age(value: Any) -> float | None:
    age = None if value is None else float(value)
    if age is not None and not age >= 0:
        raise ValueError(value)
    return None if age is None or age >= _ALWAYS_SINCE else age
