"""Opening remote files: read through the cache, or uploaded when they are closed."""

from __future__ import annotations

import io
import os
import tempfile
from functools import partial
from typing import IO, Any, cast

import wrapt

from forebay.fiftyone import hooks, local_media
from forebay.fiftyone.deferred import fos
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import is_remote
from forebay.fiftyone.storage.concurrency import workers
from forebay.fiftyone.storage.remote_objects import STORAGE_MODULE, as_str, remote_objects, uploading
from forebay.threads import map_in_threads
from forebay.uri import redact, shown

_MODES = ("r", "rb", "w", "wb")
_READ_AHEAD_BYTES = 256 << 10


# wrapt's proxy has type parameters only for type checkers.
_Proxy: Any = wrapt.ObjectProxy


class UploadOnClose(_Proxy):  # type: ignore[misc]
    """A temporary local file, open for writing, that is uploaded when it is closed.

    Nothing is uploaded if its ``with`` block raises, or if it is never closed.

    Attributes:
        skip_failures: as for FiftyOne's ``open_files``, for a file that is one of several.
    """

    def __init__(self, uri: str, mode: str) -> None:
        super().__init__(tempfile.TemporaryFile(mode + "+", prefix="forebay-"))  # noqa: SIM115 - `close` does
        self._self_uri = uri
        self._self_skip_failures: bool | str = False

    @property
    def skip_failures(self) -> bool | str:
        return self._self_skip_failures

    @skip_failures.setter
    def skip_failures(self, value: bool | str) -> None:
        self._self_skip_failures = value

    def __enter__(self) -> UploadOnClose:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def close(self) -> None:
        """Uploads the file, once.

        Raises:
            ForebayError: as `forebay.remote.Remote.put`.
        """
        if self.__wrapped__.closed:
            return
        try:
            file: Any = self.__wrapped__
            file.flush()
            remote_objects().put(self._self_uri, getattr(file, "buffer", file))
        finally:
            self.discard()

    def discard(self) -> None:
        """Closes the file without uploading it."""
        self.__wrapped__.close()


class RawRangedFile(io.RawIOBase):
    """A remote file, unbuffered; only the parts that are read are fetched."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri
        self._remote = remote_objects()
        self._info = self._remote.head(uri)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._info.size or 0}[whence]
        if start + offset < 0:
            raise ValueError(f"{redact(self._uri)}: cannot seek to {start + offset}")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._info.size or 0)
        if end <= self._position:
            return 0
        data = self._remote.read_range(self._uri, self._position, end, etag=self._info.etag)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class _RangedFile(io.BufferedReader):
    """A buffered ranged file with the method ``release``, by which FiftyOne closes its own."""

    def release(self) -> None:
        self.close()


def open_remote(uri: str, mode: str) -> IO[Any]:
    """Opens a remote file.

    Raises:
        ValueError: FiftyOne documents no such mode.
        ForebayError: it cannot be read.
    """
    if mode not in _MODES:
        raise ValueError(
            f"{redact(uri)}: cannot be opened with mode {shown(mode)}, only with one of {_MODES}"
        )
    if "w" in mode:
        return cast("IO[Any]", UploadOnClose(uri, mode))
    file = local_media.media_cache().open(uri)
    return file if mode == "rb" else io.TextIOWrapper(file)


@hooks.around(STORAGE_MODULE, "_open_file")
def open_file(original: Wrapper, path: Any, mode: str = "r") -> Any:
    path = as_str(path)
    return open_remote(path, mode) if is_remote(path) else original(path, mode)


@hooks.around(STORAGE_MODULE, "_do_open_file")
def open_one_of_many(original: Wrapper, arg: Any) -> Any:
    file = original(arg)
    if isinstance(file, UploadOnClose):
        file.skip_failures = arg[2]
    return file


@hooks.around(STORAGE_MODULE, "FileCollection.__exit__")
def close_all(original: Wrapper, self: Any, exc_type: Any, exc_val: Any, exc_tb: Any) -> Any:
    """Closes the uploads first, because FiftyOne ignores errors of closing, which here is the upload."""
    files = [file for file in self if isinstance(file, UploadOnClose)]
    if exc_type is not None:
        for file in files:
            file.discard()
    elif files:
        tasks = [partial(_close, file, fos.logger) for file in files]
        map_in_threads(lambda task: task(), tasks, workers(), "forebay-close")
    return original(self, exc_type, exc_val, exc_tb)


def _close(file: UploadOnClose, logger: Any) -> None:
    try:
        file.close()
    except Exception as error:
        if not file.skip_failures:
            raise
        if file.skip_failures != "ignore":
            logger.warning(error)


@hooks.around(STORAGE_MODULE, "open_ranged")
def open_ranged(original: Wrapper, path: Any) -> Any:
    """Fetches only the parts of a remote file that are read; a cached copy is read instead."""
    if not is_remote(path):
        return original(path)
    cached = local_media.media_cache().get_local_paths([path], download=False)[0]
    if os.path.exists(cached):
        return original(cached)
    file = RawRangedFile(path)
    if file._info.size is None:
        # Without a size there are no ranges: each read would begin at the start of the object.
        return original(local_media.local_path(path))
    return _RangedFile(file, _READ_AHEAD_BYTES)


@hooks.around(STORAGE_MODULE, "_read_file")
def read_file(original: Wrapper, filepath: Any, binary: bool = False) -> Any:
    filepath = as_str(filepath)
    if not is_remote(filepath):
        return original(filepath, binary=binary)
    with open_remote(filepath, "rb" if binary else "r") as file:
        return file.read()


@hooks.around(STORAGE_MODULE, "write_file")
def write_file(original: Wrapper, str_or_bytes: Any, path: Any) -> Any:
    if not is_remote(path):
        return original(str_or_bytes, path)
    remote_objects().put(path, fos._to_bytes(str_or_bytes))
    return None


@hooks.around(STORAGE_MODULE, "read_json", "read_ndjson", "read_yaml")
def read_structured(original: Wrapper, path: Any) -> Any:
    if not is_remote(path):
        return original(path)
    local = local_media.local_path(path)
    try:
        return original(local)
    except ValueError as error:
        # The message names the cached copy, whose path the user does not know.
        raise ValueError(str(error).replace(local, redact(path))) from error


@hooks.around(STORAGE_MODULE, "load_json")
def load_json(original: Wrapper, path_or_str: Any) -> Any:
    return fos.read_json(path_or_str) if is_remote(path_or_str) else original(path_or_str)


@hooks.around(STORAGE_MODULE, "load_ndjson")
def load_ndjson(original: Wrapper, path_or_str: Any) -> Any:
    return fos.read_ndjson(path_or_str) if is_remote(path_or_str) else original(path_or_str)


@hooks.around(STORAGE_MODULE, "write_ndjson", "write_yaml")
def write_structured(original: Wrapper, obj: Any, path: Any, **kwargs: Any) -> Any:
    if not is_remote(path):
        return original(obj, path, **kwargs)
    with uploading(path) as local:
        return original(obj, local, **kwargs)
