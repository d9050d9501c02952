"""The setting ``credentials``: which credentials, server and options are for which prefix of URIs.

It maps prefixes to objects with some of the words in `WORDS`::

    {"s3://team-a-*": {"profile": "team-a"},
     "minio://lab/": {"access_key_variable": "LAB_KEY", "secret_key_variable": "LAB_SECRET",
                      "endpoint_url": "https://minio.lab.example.com"}}

A secret never stands in it: only the names of files, profiles and environment variables do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from forebay.config.kinds import NotAllowedError
from forebay.uri import STORES, is_key_itself, shown
from forebay.uri.aliases import canonical
from forebay.uri.prefix_rules import split

WORDS = {
    "s3": frozenset(
        {
            "profile",
            "credentials_file",
            "access_key_variable",
            "secret_key_variable",
            "session_token_variable",
            "endpoint_url",
            "region",
            "anonymous",
            "requester_pays",
        }
    ),
    "gs": frozenset({"credentials_file", "endpoint_url", "anonymous", "requester_pays"}),
    "az": frozenset(
        {
            "profile",
            "credentials_file",
            "account",
            "account_key_variable",
            "sas_token_variable",
            "connection_string_variable",
            "endpoint_url",
            "anonymous",
        }
    ),
}
"""What a prefix of each scheme may say."""

WORDS["minio"] = WORDS["s3"]
_ALL = frozenset().union(*WORDS.values())

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
# The access keys of AWS are spelled as names of variables may be.
_ACCESS_KEY = re.compile(r"A[A-Z]{2}A[A-Z0-9]{12,}")
_URL = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]+( [^\s\x00-\x1f\x7f]+)*")
# Where keys come from: one way for each prefix.
_WAYS = (
    ("profile", "credentials_file"),
    ("access_key_variable", "secret_key_variable", "session_token_variable"),
    ("account_key_variable",),
    ("sas_token_variable",),
    ("connection_string_variable",),
    ("anonymous",),
)


def by_prefix(value: Any) -> dict[str, dict[str, Any]]:
    """The value of the setting, checked.

    Raises:
        NotAllowedError: the text names the prefix, and no value of a word that is unknown.
    """
    if not isinstance(value, dict):
        raise NotAllowedError("must map prefixes such as 's3://bucket/' to objects")
    return {prefix: _checked(prefix, rule) for prefix, rule in value.items()}


def check_schemes(value: dict[str, dict[str, Any]]) -> None:
    """Checks the prefixes once the aliases are known.

    Raises:
        NotAllowedError: one is that of no scheme with buckets, or it says what means nothing there.
    """
    for prefix, rule in value.items():
        scheme = split(prefix)[0]
        known = WORDS.get(canonical(scheme), frozenset())
        if canonical(scheme) not in STORES:
            raise NotAllowedError(_no_store(prefix))
        for word in rule:
            if word not in known:
                raise NotAllowedError(_unknown(prefix, scheme, word, known))


def masked(value: Any) -> Any:
    """The setting without what may be a secret in the wrong place."""
    if not isinstance(value, dict):
        return "***"
    return {
        shown(prefix)[1:-1]: {word: _shown(word, one) for word, one in rule.items()}
        if isinstance(rule, dict)
        else "***"
        for prefix, rule in value.items()
    }


def _checked(prefix: str, rule: Any) -> dict[str, Any]:
    scheme, bucket, key = split(prefix)
    if not scheme or scheme in ("http", "https", "file"):
        raise NotAllowedError(_no_store(prefix))
    if not bucket and key:
        raise NotAllowedError(f"{shown(prefix)} names a key but no bucket")
    if any(sign in key for sign in "*?"):
        raise NotAllowedError(f"{shown(prefix)}: wildcards may stand in the bucket's name only")
    if not isinstance(rule, dict):
        raise NotAllowedError(f"{shown(prefix)} must be an object such as {{'profile': 'team-a'}}")
    known_words = WORDS.get(canonical(scheme), _ALL)
    for word in rule:
        if word not in known_words:
            raise NotAllowedError(_unknown(prefix, scheme, str(word), known_words))
    made = {word: _value(prefix, word, value) for word, value in rule.items() if value is not None}
    _check_ways(prefix, made)
    return made


def _no_store(prefix: str) -> str:
    known = ", ".join(f"{name}://" for name in STORES)
    return f"{shown(prefix)} must begin with one of {known}, or with an alias"


def _unknown(prefix: str, scheme: str, word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{shown(prefix)} has {shown(word)}; {hint}{scheme}:// takes {', '.join(sorted(known))}"


def _value(prefix: str, word: str, value: Any) -> Any:
    problem = ""
    if word == "anonymous":
        problem = "" if isinstance(value, bool) else "must be true or false"
    elif word == "requester_pays":
        if not isinstance(value, bool):
            project = isinstance(value, str) and split(prefix)[0] not in ("s3", "minio")
            problem = "" if project and _WORD.fullmatch(value) else "must be true or false"
    elif not isinstance(value, str) or not _WORD.fullmatch(value):
        problem = "must be text, without line ends"
    elif is_key_itself(value):
        problem = "must name a file or variable with the key, not hold the key itself"
    elif word.endswith("_variable") and (not _VARIABLE.fullmatch(value) or _ACCESS_KEY.fullmatch(value)):
        problem = "must be the name of an environment variable, in capitals, and not a key itself"
    elif word == "endpoint_url":
        value = value.rstrip("/")
        problem = "" if _URL.fullmatch(value) else "must be http(s)://host:port, without user and query"
    if problem:
        raise NotAllowedError(f"{shown(prefix)}: {word} {problem}")
    return value


def _check_ways(prefix: str, rule: Mapping[str, Any]) -> None:
    """One way only leads to the keys of a prefix, and it is complete."""
    ways = [[word for word in way if rule.get(word)] for way in _WAYS]
    used = [words for words in ways if words]
    if len(used) > 1:
        raise NotAllowedError(
            f"{shown(prefix)} has both {used[0][0]} and {used[1][0]}: name the credentials in one way"
        )
    words = rule.keys()
    for one, other in (
        ("access_key_variable", "secret_key_variable"),
        ("secret_key_variable", "access_key_variable"),
        ("session_token_variable", "access_key_variable"),
    ):
        if one in words and other not in words:
            raise NotAllowedError(f"{shown(prefix)}: {one} needs {other}, too")


def _shown(word: Any, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(word, str) or not isinstance(value, str) or not _WORD.fullmatch(value):
        return "***"
    if word.endswith("_variable"):
        return value if _VARIABLE.fullmatch(value) and not _ACCESS_KEY.fullmatch(value) else "***"
    if word not in _ALL or is_key_itself(value) or (word == "endpoint_url" and not _URL.fullmatch(value)):
        return "***"
    return value
