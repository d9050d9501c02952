"""Reading remote files through the cache, and writing them when they are closed."""

from __future__ import annotations

import io
import os
import tempfile
from functools import partial
from typing import IO, Any, cast

import wrapt

from forebay.fiftyone import hooks, media
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media import is_remote
from forebay.fiftyone.storage.access import MODULE, remote, text, uploading
from forebay.fiftyone.storage.pool import workers
from forebay.threads import map_in_threads
from forebay.uri import redact

_MODES = ("r", "rb", "w", "wb")
_READ_AHEAD_BYTES = 256 << 10


# A proxy has type parameters for type checkers alone.
_Proxy: Any = wrapt.ObjectProxy


class Upload(_Proxy):  # type: ignore[misc]
    """A local file, open for writing, that is uploaded when it is closed.

    Not so when the ``with`` block that it was opened in raises, and not when it is forgotten unclosed.

    Attributes:
        skip_failures: FiftyOne's, for a file that is one of many.
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

    def __enter__(self) -> Upload:
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
            remote().put(self._self_uri, getattr(file, "buffer", file))
        finally:
            self.discard()

    def discard(self) -> None:
        """Closes the file, and uploads nothing."""
        self.__wrapped__.close()


class RangedFile(io.RawIOBase):
    """A remote file of which only those parts are fetched that are read."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri
        self._remote = remote()
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


class _Ranged(io.BufferedReader):
    """A reader of parts, with the name for closing that FiftyOne's has."""

    def release(self) -> None:
        self.close()


def open_remote(uri: str, mode: str) -> IO[Any]:
    """Opens a remote file.

    Raises:
        ValueError: the mode is none that FiftyOne documents.
        ForebayError: it cannot be read.
    """
    if mode not in _MODES:
        raise ValueError(f"{redact(uri)}: cannot be opened with mode {mode!r}, only with one of {_MODES}")
    if "w" in mode:
        return cast("IO[Any]", Upload(uri, mode))
    file = media.media_cache().open(uri)
    return file if mode == "rb" else io.TextIOWrapper(file)


@hooks.around(MODULE, "_open_file")
def open_file(original: Wrapper, path: Any, mode: str = "r") -> Any:
    path = text(path)
    return open_remote(path, mode) if is_remote(path) else original(path, mode)


@hooks.around(MODULE, "_do_open_file")
def open_one_of_many(original: Wrapper, arg: Any) -> Any:
    file = original(arg)
    if isinstance(file, Upload):
        file.skip_failures = arg[2]
    return file


@hooks.around(MODULE, "FileCollection.__exit__")
def close_all(original: Wrapper, self: Any, exc_type: Any, exc_val: Any, exc_tb: Any) -> Any:
    """FiftyOne does not look at how the closing went, which for an upload is everything."""
    import fiftyone.core.storage as fos

    files = [file for file in self if isinstance(file, Upload)]
    if exc_type is not None:
        for file in files:
            file.discard()
    elif files:
        tasks = [partial(_close, file, fos.logger) for file in files]
        map_in_threads(lambda task: task(), tasks, workers(), "forebay-close")
    return original(self, exc_type, exc_val, exc_tb)


def _close(file: Upload, logger: Any) -> None:
    try:
        file.close()
    except Exception as error:
        if not file.skip_failures:
            raise
        if file.skip_failures != "ignore":
            logger.warning(error)


@hooks.around(MODULE, "open_ranged")
def open_ranged(original: Wrapper, path: Any) -> Any:
    """Only what is read of a remote file is fetched; of a cached one, nothing."""
    if not is_remote(path):
        return original(path)
    cached = media.media_cache().get_local_paths([path], download=False)[0]
    if os.path.exists(cached):
        return original(cached)
    file = RangedFile(path)
    if file._info.size is None:
        # A web server that does not tell would be read from the beginning again and again.
        return original(media.local(path))
    return _Ranged(file, _READ_AHEAD_BYTES)


@hooks.around(MODULE, "_read_file")
def read_file(original: Wrapper, filepath: Any, binary: bool = False) -> Any:
    filepath = text(filepath)
    if not is_remote(filepath):
        return original(filepath, binary=binary)
    with open_remote(filepath, "rb" if binary else "r") as file:
        return file.read()


@hooks.around(MODULE, "write_file")
def write_file(original: Wrapper, str_or_bytes: Any, path: Any) -> Any:
    import fiftyone.core.storage as fos

    if not is_remote(path):
        return original(str_or_bytes, path)
    remote().put(path, fos._to_bytes(str_or_bytes))
    return None


@hooks.around(MODULE, "read_json", "read_ndjson", "read_yaml")
def read_structured(original: Wrapper, path: Any) -> Any:
    if not is_remote(path):
        return original(path)
    local = media.local(path)
    try:
        return original(local)
    except ValueError as error:
        # It names the copy in the cache, which its reader has never heard of.
        raise ValueError(str(error).replace(local, redact(path))) from error


@hooks.around(MODULE, "load_json")
def load_json(original: Wrapper, path_or_str: Any) -> Any:
    import fiftyone.core.storage as fos

    return fos.read_json(path_or_str) if is_remote(path_or_str) else original(path_or_str)


@hooks.around(MODULE, "load_ndjson")
def load_ndjson(original: Wrapper, path_or_str: Any) -> Any:
    import fiftyone.core.storage as fos

    return fos.read_ndjson(path_or_str) if is_remote(path_or_str) else original(path_or_str)


@hooks.around(MODULE, "write_ndjson", "write_yaml")
def write_structured(original: Wrapper, obj: Any, path: Any, **kwargs: Any) -> Any:
    if not is_remote(path):
        return original(obj, path, **kwargs)
    with uploading(path) as local:
        return original(obj, local, **kwargs)
