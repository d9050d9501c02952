"""The file system that fsspec's users hold: reading through the cache, and nothing else."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from glob import has_magic
from typing import IO, Any, NoReturn, TypeVar

import fsspec.asyn
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.implementations.local import make_path_posix
from fsspec.utils import isfilelike, stringify_path

import forebay
from forebay.aio.async_cache import AsyncMediaCache
from forebay.aio.calls import Calls, in_thread
from forebay.cache import MediaCache
from forebay.errors import (
    ConfigError,
    ForebayError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    ReadOnlyError,
    UriError,
)
from forebay.fsspec.looking import Facts, Looking
from forebay.fsspec.opened_file import OpenedFile
from forebay.fsspec.tree import PROTOCOL, Tree, known_scheme
from forebay.fsspec.whole_file import copy_to, read, read_few
from forebay.parts.spans import Span, read_spans
from forebay.uri import entry_of, redact, remote_schemes

# fsspec's own options of every file system, which change nothing here: no listing is kept.
_WITHOUT_EFFECT = {"use_listings_cache", "listings_expiry_time", "max_paths"}
_T = TypeVar("_T")


class ForebayFileSystem(fsspec.asyn.AsyncFileSystem, ChainedFileSystem):  # type: ignore[misc]
    """Objects of S3, Google Cloud Storage, Azure and web servers, read through the cache.

    Sources, credentials and the limit are those of the cache's settings. Paths are ``s3/bucket/key``; URIs
    are understood, too. Nothing can be written: what would raises `ReadOnlyError`. Safe to use from many
    threads, in forked children, and pickled.

    Args:
        target_protocol: the scheme of every path, which is then ``bucket/key``: ``s3``, ``gs``, ``https``.
        target_options: of fsspec's own file system for that scheme; must be empty.
        fo: what chained URLs bring along; without effect.
        cache: the cache; by default `forebay.media_cache`.
        asynchronous, loop, batch_size: as `fsspec.asyn.AsyncFileSystem`.

    Raises:
        ConfigError: there is no such option or scheme, or a setting of the cache is not allowed.
    """

    protocol = PROTOCOL
    # An instance holds next to nothing, and the cache is the process's.
    cachable = False
    # No part of what makes two of them equal, nor of what is pickled: it may be a signed URL.
    _strip_tokenize_options = ("fo",)

    def __init__(
        self,
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        fo: object = None,
        cache: MediaCache | None = None,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        unknown = sorted([*(options.keys() - _WITHOUT_EFFECT), *(target_options or {})])
        if unknown:
            raise ConfigError(
                f"the file system {PROTOCOL!r} has no option {', '.join(map(repr, unknown))}: what it "
                "reads, and with which credentials, Forebay's settings say: `forebay config` lists them"
            )
        scheme = known_scheme(target_protocol or "")
        if scheme and scheme not in remote_schemes():
            raise ConfigError(
                f"target_protocol is {target_protocol!r}, which Forebay cannot fetch; it must be one of "
                f"{', '.join(remote_schemes())}"
            )
        super().__init__(asynchronous=asynchronous, loop=loop, batch_size=batch_size)
        self._given_loop = loop
        self._tree = Tree(scheme)
        self._cache = forebay.media_cache if cache is None else cache
        self._aio = AsyncMediaCache(self._cache)
        self._calls = Calls()
        self._looking = Looking(self._cache, self._tree)
        # They depend on the scheme, which the methods of the class do not know.
        for name, function in (("_strip_protocol", _stripped), ("_parent", _parent)):
            setattr(self, name, partial(function, self._tree))

    # Names

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return _stripped(Tree(), path)

    @classmethod
    def _parent(cls, path: Any) -> str:
        return _parent(Tree(), path)

    def unstrip_protocol(self, name: str) -> str:
        return self._tree.full(self._tree.path(name))

    def _uri(self, path: Any) -> str:
        return self._tree.uri(self._strip_protocol(path))

    @property
    def loop(self) -> Any:
        # That of the process: a forked child has a thread of its own for it.
        return None if self.asynchronous else self._given_loop or fsspec.asyn.get_loop()

    # Looking

    async def _info(self, path: Any, **kwargs: Any) -> Facts:
        return await in_thread(partial(self._looking.info, self._strip_protocol(path)))

    async def _isdir(self, path: Any) -> bool:
        return await self._type(path) == "directory"

    async def _isfile(self, path: Any) -> bool:
        return await self._type(path) == "file"

    async def _type(self, path: Any) -> str | None:
        # fsspec takes every error for "no": a chunk of an array would count as absent while the network is.
        try:
            return str((await self._info(path))["type"])
        except FileNotFoundError:
            return None

    async def _ls(self, path: Any, detail: bool = True, prefix: str = "", **kwargs: Any) -> Any:
        found = await in_thread(partial(self._looking.ls, self._strip_protocol(path), prefix))
        return found if detail else [facts["name"] for facts in found]

    async def _find(
        self,
        path: Any,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **kwargs: Any,
    ) -> Any:
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        found = await in_thread(partial(self._looking.find, path, maxdepth, withdirs, prefix))
        return found if detail else list(found)

    async def _du(
        self,
        path: Any,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **kwargs: Any,
    ) -> Any:
        found = await self._find(path, maxdepth, withdirs, detail=True)
        sizes = {name: facts["size"] for name, facts in found.items()}
        return sum(sizes.values()) if total else sizes

    async def _glob(self, path: Any, maxdepth: int | None = None, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)
        if not self._tree.is_url(path):
            return await super()._glob(path, maxdepth, **kwargs)
        # A URL may have any character, and a server has no listing to compare it with.
        found = await self._find(path, detail=True)
        return found if kwargs.get("detail") else list(found)

    async def _expand_path(
        self, path: Any, recursive: bool = False, maxdepth: int | None = None, assume_literal: bool = False
    ) -> list[str]:
        given = {self._strip_protocol(one) for one in ([path] if isinstance(path, str) else path)}
        urls = {one for one in given if self._tree.is_url(one)}
        others = sorted(given - urls)
        try:
            found = await super()._expand_path(others, recursive, maxdepth, assume_literal) if others else []
        except FileNotFoundError as error:
            if isinstance(error, ForebayError):
                raise
            patterns = [one for one in others if has_magic(one)]
            uri = redact(self._tree.uri((patterns or others)[0]))
            reason = "no such object or directory"
            if patterns:
                reason = "nothing matches this pattern; cat_file and open take a name as it is"
            raise ObjectNotFoundError(uri, reason) from None
        for name in found:
            # Copies of what was found are put below one directory, and not every fsspec sees to that.
            if name in given or (".." not in name.split("/") and "\0" not in name):
                continue
            uri = redact(self._tree.uri(name))
            what = "is no name that a file can have" if "\0" in name else "leads out of its directory by '..'"
            raise UriError(f"{uri} {what}: read it by its own name", uri=uri)
        return sorted([*found, *urls])

    def modified(self, path: Any) -> Any:
        """When an object was last modified, as a time of UTC; ``None`` where its source does not tell."""
        return self.info(path).get("LastModified")

    def sign(self, path: Any, expiration: int = 100, **kwargs: Any) -> str:
        """A URL of an object that works without credentials for so many seconds."""
        return self._looking.sign(self._strip_protocol(path), expiration)

    # Reading

    def _open(self, path: Any, mode: str = "rb", **kwargs: Any) -> OpenedFile:
        if mode != "rb":
            self._refuse(path)
        path = self._strip_protocol(path)
        return OpenedFile(self, path, self._cache.open(self._tree.uri(path)))

    async def _cat_file(
        self, path: Any, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        return (await self._spans(self._uri(path), [(start, end)]))[0]

    async def _cat_ranges(
        self,
        paths: list[Any],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """The bytes of many ranges. Those of one object are fetched together, in its blocks."""
        count = len(paths)
        starts, ends = (list(one) if isinstance(one, Iterable) else [one] * count for one in (starts, ends))
        if len(starts) != count or len(ends) != count:
            raise ValueError("starts and ends must be numbers, or lists as long as paths")
        places: dict[str, list[int]] = {}
        for number, path in enumerate(paths):
            places.setdefault(self._strip_protocol(path), []).append(number)
        # In order, so that a cache which is too small for all of them fetches each block once.
        for numbers in places.values():
            numbers.sort(key=lambda n: ((starts[n] or 0) < 0, starts[n] or 0))
        results: list[Any] = [None] * count

        async def read(path: str, numbers: list[int]) -> None:
            found: Sequence[bytes | Exception]
            try:
                found = await self._spans(self._tree.uri(path), [(starts[n], ends[n]) for n in numbers])
            except Exception as error:
                if on_error != "return":
                    raise
                found = [error] * len(numbers)
            for number, one in zip(numbers, found, strict=True):
                results[number] = one

        await asyncio.gather(*(read(path, numbers) for path, numbers in places.items()))
        return results

    async def _get(self, rpath: Any, lpath: Any, *arguments: Any, **options: Any) -> Any:
        path = self._strip_protocol(rpath)
        if isinstance(path, str) and not isinstance(lpath, list) and self._tree.is_url(path):
            # fsspec takes "?" for a wildcard: it would make a directory of the target, with the query in it.
            target = make_path_posix(lpath)
            if target.endswith("/") or os.path.isdir(target):
                target = os.path.join(target, path.partition("?")[0].rpartition("/")[2])
            rpath, lpath = [path], [target]
        return await super()._get(rpath, lpath, *arguments, **options)

    async def _get_file(
        self, rpath: Any, lpath: Any, callback: Any = DEFAULT_CALLBACK, **kwargs: Any
    ) -> None:
        if not isfilelike(lpath) and os.path.isdir(lpath):
            # Of a directory, whose files are copied by themselves.
            return
        try:
            size = await self._use(self._uri(rpath), partial(copy_to, lpath))
        except ObjectNotFoundError:
            # A directory that nothing is in, but the empty object that shows it.
            if isfilelike(lpath) or not await self._isdir(rpath):
                raise
            os.makedirs(lpath, exist_ok=True)
            return
        callback.set_size(size)
        callback.absolute_update(size)

    async def _spans(self, uri: str, spans: Sequence[Span]) -> list[bytes]:
        is_part = all(start not in (None, 0) or end is not None for start, end in spans)
        touch = partial(self._cache.engine.files.touch, entry_of(uri))
        if is_part and await self._calls.quick(touch) is None:
            return await in_thread(partial(read_spans, self._cache.engine, uri, spans))
        return await self._use(uri, partial(read, spans), partial(read_few, spans))

    async def _use(
        self,
        uri: str,
        use: Callable[[IO[bytes]], _T],
        quickly: Callable[[IO[bytes]], _T | None] = lambda _: None,
    ) -> _T:
        """What a thread makes of an object's file, and opens for it: many that wait hold no file open.

        Of an object that is larger than the cache, the bytes come when they are read.

        Args:
            quickly: what is tried before, in the event loop; it gives ``None`` for what takes a thread.
        """
        path: str | None = None
        with contextlib.suppress(ObjectTooLargeError):
            path = await self._aio.local_path(uri)

        def opened() -> IO[bytes] | None:
            # It may be evicted meanwhile.
            with contextlib.suppress(FileNotFoundError):
                return None if path is None else builtins.open(path, "rb")
            return None

        def quick() -> _T | None:
            file = opened()
            if file is None:
                return None
            with file:
                return quickly(file)

        def slow() -> _T:
            with opened() or self._cache.open(uri, whole=path is not None) as file:
                return use(file)

        found = await self._calls.quick(quick)
        return await in_thread(slow) if found is None else found

    # Writing

    def _refuse(self, path: Any) -> NoReturn:
        raise ReadOnlyError(
            redact(self._uri(path)),
            f"the file system {PROTOCOL!r} only reads: write with a client of the store itself",
        )

    async def _put_file(self, lpath: Any, rpath: Any, **kwargs: Any) -> None:
        self._refuse(rpath)

    async def _pipe_file(self, path: Any, value: Any, **kwargs: Any) -> None:
        self._refuse(path)

    async def _cp_file(self, path1: Any, path2: Any, **kwargs: Any) -> None:
        self._refuse(path2)

    async def _rm_file(self, path: Any, **kwargs: Any) -> None:
        self._refuse(path)

    async def _mkdir(self, path: Any, create_parents: bool = True, **kwargs: Any) -> None:
        self._refuse(path)

    async def _makedirs(self, path: Any, exist_ok: bool = False) -> None:
        self._refuse(path)

    def rmdir(self, path: Any) -> None:
        """Raises `ReadOnlyError`."""
        self._refuse(path)


def _stripped(tree: Tree, path: Any) -> Any:
    if isinstance(path, list):
        return [_stripped(tree, one) for one in path]
    return tree.path(stringify_path(path))


def _parent(tree: Tree, path: Any) -> str:
    return str(_stripped(tree, path)).rpartition("/")[0]
