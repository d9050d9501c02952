"""What is there: facts about objects and directories, as fsspec writes them. Everything here waits."""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone
from typing import Any

from forebay.cache import MediaCache
from forebay.errors import AccessDeniedError, IndexUnavailableError, ObjectNotFoundError
from forebay.fsspec.tree import Tree
from forebay.parts.versions import known_version
from forebay.remote import Remote
from forebay.sources.base import ObjectInfo
from forebay.uri import parse

Facts = dict[str, Any]


class Looking:
    """Looks at the objects of one file system.

    A listing is asked for each time. Of an object that is cached, in whole or in blocks, what is told is what
    will be read: the cached version; nothing is asked for it.

    Args:
        cache: for what it has, and the settings of the sources.
        tree: the paths.
    """

    def __init__(self, cache: MediaCache, tree: Tree) -> None:
        self._engine = cache.engine
        self._remote = Remote(cache)
        self._tree = tree

    def info(self, path: str) -> Facts:
        """The facts of one path.

        Raises:
            ObjectNotFoundError: there is neither an object nor one below it.
            ForebayError: it cannot be told.
        """
        if self._tree.schemes(path):
            return _directory(path)
        uri = self._tree.uri(path)
        parsed = parse(uri)
        if not parsed.key and not parsed.is_url:
            # Raises where there is no such bucket; one without objects is there, too.
            self._remote.holds(uri)
            return _directory(path)
        found = self._cached(uri)
        if found is None:
            try:
                found = self._remote.head(uri)
            except ObjectNotFoundError:
                if parsed.is_url or not self._remote.holds(f"{uri}/"):
                    raise
                return _directory(path)
        return _file(path, found)

    def ls(self, path: str, prefix: str = "") -> list[Facts]:
        """The facts of what is in a directory; of a file, its own.

        Args:
            prefix: what the names in it must begin with.

        Raises:
            ForebayError: as `info`.
        """
        schemes = self._tree.schemes(path)
        if schemes and not path and not self._tree.scheme:
            return [_directory(scheme) for scheme in schemes if scheme.startswith(prefix)]
        if schemes:
            roots = (
                self._tree.of_uri(f"{schemes[0]}://{name}") for name in self._remote.containers(schemes[0])
            )
            return [_directory(root) for root in roots if root.startswith(f"{path}/{prefix}".lstrip("/"))]
        found = self.find(path, maxdepth=1, withdirs=True, prefix=prefix)
        below = [facts for name, facts in found.items() if name != path or facts["type"] == "file"]
        if not found:
            self.info(path)
        return below

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, prefix: str = ""
    ) -> dict[str, Facts]:
        """The facts of all that is below a path, by name, in order.

        Args:
            maxdepth: how many levels below it.
            withdirs: whether directories are told, too, among them the path itself.
            prefix: what the names in it must begin with.

        Returns:
            only those of the file where the path names one; none where there is nothing.
        """
        found: dict[str, Facts] = {}
        if self._tree.schemes(path):
            if withdirs:
                found[path] = _directory(path)
            for root in self.ls(path, prefix):
                if withdirs:
                    found[root["name"]] = root
                if maxdepth != 1:
                    # Of all buckets, many may not be for this user: fsspec goes on, too.
                    with contextlib.suppress(AccessDeniedError):
                        found |= self.find(root["name"], maxdepth and maxdepth - 1, withdirs)
            return dict(sorted(found.items()))
        uri = self._tree.uri(path)
        parsed = parse(uri)
        if not parsed.is_url:
            with contextlib.suppress(ObjectNotFoundError):
                for info in self._remote.list_objects(f"{uri}/{prefix}", recursive=maxdepth != 1):
                    self._add(found, path, info, maxdepth, withdirs)
        if found:
            if withdirs:
                found[path] = _directory(path)
        elif not prefix and (parsed.key or parsed.is_url):
            with contextlib.suppress(ObjectNotFoundError):
                facts = self.info(path)
                if facts["type"] == "file" or withdirs:
                    found[path] = facts
        return dict(sorted(found.items()))

    def _add(
        self, found: dict[str, Facts], path: str, info: ObjectInfo, maxdepth: int | None, withdirs: bool
    ) -> None:
        name = self._tree.of_uri(info.uri)
        *above, last = name[len(path) + 1 :].split("/")
        if withdirs:
            for depth in range(1, len(above) + 1):
                # Of "a//b", "a/" is no directory that a path could name.
                if above[depth - 1] and (maxdepth is None or depth <= maxdepth):
                    directory = "/".join([path, *above[:depth]])
                    found.setdefault(directory, _directory(directory))
        # Consoles write an empty object to show a directory.
        if last and (maxdepth is None or len(above) < maxdepth):
            found[name] = _file(name, info)

    def sign(self, path: str, seconds: int) -> str:
        """A URL of an object that works without credentials for so many seconds."""
        return self._remote.sign(self._tree.uri(path), seconds)

    def _cached(self, uri: str) -> ObjectInfo | None:
        engine, parsed = self._engine, parse(uri)
        entry = parsed.entry
        found, version = engine.files.find(entry), None
        if found is None:
            version = known_version(engine, entry)
            found = engine.files.find(version.block(0).entry) if version is not None else None
        if found is None:
            return None
        if version is not None:
            return ObjectInfo(uri, version.size, version.etag, found.status.st_mtime)
        etag = None
        # A hit needs no Redis, and goes on without one.
        with contextlib.suppress(IndexUnavailableError):
            value = engine.open_index().entries.values([entry])[0]
            etag = value.etag if value is not None else None
        return ObjectInfo(uri, found.status.st_size, etag or None, found.status.st_mtime)


def _directory(path: str) -> Facts:
    return {"name": path, "size": 0, "type": "directory"}


def _file(path: str, info: ObjectInfo) -> Facts:
    modified = info.modified
    return {
        "name": path,
        "size": info.size,
        "type": "file",
        "ETag": info.etag,
        "LastModified": None if modified is None else datetime.fromtimestamp(modified, timezone.utc),
        "mtime": modified,
    }
