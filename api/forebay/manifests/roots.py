"""Where the relative names of a manifest are: below its own place, or below a root that the user gives."""

from __future__ import annotations

import os
from urllib.parse import quote

from forebay.errors import UriError
from forebay.uri import is_local, local_file, parse, shown


class Root:
    """A directory or prefix to which names are relative.

    Args:
        where: the URI of a prefix, or a local directory.

    Raises:
        UriError: it is neither.
    """

    def __init__(self, where: str) -> None:
        self._is_local = is_local(where)
        if self._is_local:
            self._base = os.path.abspath(local_file(where))
            return
        self._is_url = where[:4].lower() == "http"
        if self._is_url:
            # A signature is that of the root alone.
            where = where.partition("?")[0].partition("#")[0]
        scheme, _, rest = where.partition("://")
        bucket, _, key = rest.partition("/")
        parse(f"{scheme}://{bucket}/")
        self._base = f"{scheme}://{bucket}"
        self._parts = key.removesuffix("/").split("/") if key.strip("/") else []

    def join(self, name: str) -> str:
        """The URI, or the path, of a relative name.

        Raises:
            UriError: the name leads out of the bucket or the host.
        """
        if self._is_local:
            return os.path.normpath(os.path.join(self._base, name))
        parts = list(self._parts)
        for part in name.split("/"):
            if part == "..":
                if not parts:
                    raise UriError(f"{shown(name)} leads out of {self._base}", uri=self._base)
                parts.pop()
            elif part != ".":
                parts.append(quote(part, safe="!$&'()*+,;=:@~") if self._is_url else part)
        return "/".join((self._base, *parts))


def place_of(target: str) -> Root:
    """The place of a manifest."""
    if is_local(target):
        return Root(os.path.dirname(os.path.abspath(local_file(target))))
    if target[:4].lower() == "http":
        target = target.partition("?")[0].partition("#")[0]
    return Root(target.rpartition("/")[0] + "/")
