"""The paths of the file system, and the URIs that they stand for.

A path is ``s3/bucket/key``: what is left of ``forebay://s3/bucket/key``. In a file system that was made for
one scheme, as by ``forebay::s3://bucket/key``, it is ``bucket/key``, as in the one that fsspec has for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay.errors import UriError
from forebay.uri import redact, remote_schemes
from forebay.uri.aliases import aliases
from forebay.uri.redaction import REMOTE_SCHEMES, SCHEME, STORES, URLS

PROTOCOL = "forebay"
# Schemes that only fsspec has, beside the aliases that every part of Forebay knows.
_OF_FSSPEC = {"s3a": "s3", "gcs": "gs"}


@dataclass(frozen=True, slots=True)
class Tree:
    """The paths of one file system.

    Attributes:
        scheme: of all of them; empty where each begins with its own.
    """

    scheme: str = ""

    def path(self, text: str) -> str:
        """The path that a path or a URI stands for; its slashes at either end do not count.

        Raises:
            UriError: it is of another scheme than this file system.
        """
        rest, is_full = text, False
        for mark in (f"{PROTOCOL}://", f"{PROTOCOL}::"):
            if rest.startswith(mark):
                rest, is_full = rest[len(mark) :], True
        match = SCHEME.match(rest)
        if match is not None:
            rest, is_full = f"{known_scheme(match[1].lower())}/{rest[match.end() :]}", True
        scheme = self.scheme
        if is_full or not scheme:
            scheme, slash, below = rest.lstrip("/").partition("/")
            if self.scheme:
                rest = below
                if scheme not in ("", self.scheme):
                    raise UriError(
                        f"{redact(f'{scheme}://{below}')} is not one of {self.scheme}://, for which this "
                        "file system was made; fsspec.filesystem('forebay') takes every scheme",
                        uri=redact(f"{scheme}://{below}"),
                    )
            elif scheme in URLS:
                # "https://host/a/" is another URL than "https://host/a".
                return f"{scheme}{slash}{below}"
        rest = rest.lstrip("/")
        return rest if scheme in URLS else rest.rstrip("/")

    def uri(self, path: str) -> str:
        """The URI of a path that `path` has given.

        Raises:
            UriError: it begins with no scheme that Forebay can fetch; a local file is none either.
        """
        if self.scheme:
            return f"{self.scheme}://{path}"
        scheme, _, below = path.partition("/")
        if scheme not in REMOTE_SCHEMES and scheme not in aliases():
            shown = redact(f"{scheme}://{below}").replace("://", "/", 1).rstrip("/")
            raise UriError(
                f"{shown!r} names no store that Forebay can fetch from; expected {PROTOCOL}://s3/bucket/key, "
                f"or one of {', '.join(remote_schemes()[1:])} in place of s3",
                uri=shown,
            )
        return f"{scheme}://{below}"

    def is_url(self, path: str) -> bool:
        """Whether it names something of a web server, where no character is a wildcard."""
        return (self.scheme or path.partition("/")[0]) in URLS

    def of_uri(self, uri: str) -> str:
        """The path of a URI that a source has listed, where `uri` gave what it was asked for."""
        scheme, _, below = uri.partition("://")
        return below if self.scheme else f"{scheme}/{below}"

    def schemes(self, path: str) -> tuple[str, ...]:
        """The schemes whose buckets are below a path, if it names no bucket."""
        if self.scheme:
            return () if path else (self.scheme,)
        if not path:
            return STORES
        return (path,) if path in STORES or path in aliases() else ()

    def full(self, path: str) -> str:
        """The path with the protocol, as every file system of Forebay opens it."""
        return f"{PROTOCOL}://{self.scheme}/{path}" if self.scheme else f"{PROTOCOL}://{path}"


def known_scheme(name: str) -> str:
    """The scheme that fsspec knows by another name, or the same one."""
    return _OF_FSSPEC.get(name, name)
