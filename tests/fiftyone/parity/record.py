"""The list of calls, and what is kept of each: its result or error, its messages, and its files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ground:
    """The place that a call is made from.

    Attributes:
        fo: the module ``fiftyone``.
        dir: the working directory; ``data`` below it holds a copy of the media, everything else is the
            call's own.
    """

    fo: Any
    dir: Path

    @property
    def data(self) -> Path:
        return self.dir / "data"

    @property
    def photos(self) -> list[str]:
        return self._paths("photos")

    @property
    def videos(self) -> list[str]:
        return self._paths("videos")

    def _paths(self, folder: str) -> list[str]:
        return [str(path) for path in sorted((self.data / folder).iterdir())]


Function = Callable[[Ground], Any]


@dataclass(frozen=True)
class Call:
    """One entry of the list.

    Attributes:
        name: what a reader is told.
        fails: whether FiftyOne raises an error.
        video: whether it needs ffmpeg.
        since: the version of FiftyOne that began with what is called; `None` where every version has it.
    """

    name: str
    function: Function
    fails: bool
    video: bool
    since: str | None


CALLS: dict[str, Call] = {}


def call(
    name: str, *, fails: bool = False, video: bool = False, since: str | None = None
) -> Callable[[Function], Function]:
    """Enters a function into the list."""

    def enter(function: Function) -> Function:
        assert name not in CALLS, name
        CALLS[name] = Call(name, function, fails, video, since)
        return function

    return enter


def make(wanted: Call, media: Path, directory: Path, fo: Any) -> dict[str, Any]:
    """Makes a call in a new directory; gives what is kept of it, as JSON.

    Args:
        media: what ``data`` becomes a copy of.
        directory: a name that nothing has yet.
    """
    directory.mkdir()
    shutil.copytree(media, directory / "data", symlinks=True)
    before = _files(directory)
    _seed()
    outcome: dict[str, Any] = {}
    with _within(directory), _environment(directory), _messages() as messages:
        try:
            value = wanted.function(Ground(fo, directory))
            outcome["result"] = plain(value)
        except Exception as error:
            outcome["error"] = f"{type(error).__module__}.{type(error).__qualname__}: {error}"
    outcome["messages"] = [
        # The adapter may add frames to a traceback; only the error itself must be the same.
        line
        for line in messages.getvalue().splitlines()
        if not line.startswith("  ")
    ]
    after = _files(directory)
    outcome["files"] = {
        name: after.get(name, "gone")
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }
    fo.delete_datasets("*")
    shutil.rmtree(directory)
    return {key: _all_settled(value, directory) for key, value in outcome.items()}


def plain(value: Any) -> Any:
    """A value as what JSON can hold, down to the samples of a dataset and the pixels of an image."""
    import numpy as np
    from bson import ObjectId

    kind = type(value).__module__.partition(".")[0]
    if isinstance(value, np.ndarray | np.generic):
        return _array(np.asarray(value))
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, bytes):
        return repr(value) if len(value) < 200 else f"bytes {hashlib.sha1(value).hexdigest()}"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return f"path {os.fspath(value)}"
    if isinstance(value, ObjectId | date):
        return f"<{type(value).__name__}>"
    if kind == "torch":
        return _array(value.numpy())
    if kind == "PIL":
        return _array(np.asarray(value))
    if kind == "fiftyone" and hasattr(value, "iter_samples"):
        return _collection(value)
    if kind == "fiftyone" and hasattr(value, "to_dict"):
        return plain(value.to_dict())
    return f"{type(value).__qualname__} {value}"


def _collection(collection: Any) -> dict[str, Any]:
    if collection.media_type == "group":
        collection = collection.select_group_slices(_allow_mixed=True)
    return {
        "media_type": collection.media_type,
        "fields": sorted(collection.get_field_schema()),
        "samples": [_sample(sample) for sample in collection.iter_samples()],
    }


def _sample(sample: Any) -> Any:
    fields = sample.to_dict(include_frames=True) if sample.media_type == "video" else sample.to_dict()
    # When it was made, and where in the database it is.
    return plain({k: v for k, v in fields.items() if k not in ("_id", "id", "_dataset_id")})


def _array(array: Any) -> str:
    import numpy as np

    if array.ndim == 0:
        return f"{array.dtype} {plain(array.item())}"
    rounded = np.round(array, 5) + 0 if array.dtype.kind == "f" else array
    return f"{array.dtype} {array.shape} {hashlib.sha1(np.ascontiguousarray(rounded).tobytes()).hexdigest()}"


_SETTLED = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b[0-9a-f]{24}\b", "<id>"),
    (r"\b20\d\d\.\d\d\.\d\d\.\d\d\.\d\d\.\d\d(\.\d+)?\b", "<name>"),
    (r"\b20\d\d-\d\d-\d\d-\d\d-\d\d-\d\d(-\d+)?\b", "<slug>"),
    (r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+\d\d:?\d\d)?", "<time>"),
    (r'("\$date": ?)(\d+|"[^"]*")', r"\1<time>"),
    (r'("_rand": ?)[\d.e-]+', r"\1<number>"),
    (r"\btmp[a-z0-9_]{8}\b", "<tmp>"),
    (r"0x[0-9a-f]{6,}", "<address>"),
    (r"\b\d+(\.\d+)?(ms|s) elapsed", "<elapsed>"),
)


def _settled(text: str, directory: Path) -> str:
    """A text without what is different each time: directories, identifiers, times."""
    text = text.replace(str(directory), "<dir>").replace(str(directory.parent), "<above>")
    for pattern, name in _SETTLED:
        text = re.sub(pattern, name, text)
    return text


def _all_settled(value: Any, directory: Path) -> Any:
    """The same for every text in a value."""
    if isinstance(value, str):
        return _settled(value, directory)
    if isinstance(value, dict):
        return {_settled(key, directory): _all_settled(item, directory) for key, item in value.items()}
    return [_all_settled(item, directory) for item in value] if isinstance(value, list) else value


def _files(directory: Path) -> dict[str, str]:
    """A directory's contents: links by their targets, texts without the parts that differ each time."""
    found: dict[str, str] = {}
    for path in sorted(directory.rglob("*")):
        name = _settled(str(path.relative_to(directory)), directory)
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file():
            found[name] = _content(path, directory)
    return found


def _content(path: Path, directory: Path) -> str:
    if path.suffix == ".zip":
        return f"archive of {sorted(zipfile.ZipFile(path).namelist())}"
    content = path.read_bytes()
    with contextlib.suppress(UnicodeDecodeError):
        content = _settled(content.decode(), directory).encode()
    return f"{len(content)} bytes {hashlib.sha1(content).hexdigest()}"


@contextlib.contextmanager
def _within(directory: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _environment(directory: Path) -> Iterator[None]:
    """A home and a directory for temporary files of the call's own."""
    import tempfile

    (directory / "tmp").mkdir()
    names = {"HOME": str(directory / "data"), "TMPDIR": str(directory / "tmp")}
    before = {name: os.environ.get(name, "") for name in names}
    os.environ |= names
    tempfile.tempdir = None
    try:
        yield
    finally:
        os.environ |= before
        tempfile.tempdir = None


@contextlib.contextmanager
def _messages() -> Iterator[io.StringIO]:
    """Records what FiftyOne logs and prints."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    loggers = [logging.getLogger(name) for name in ("fiftyone", "eta")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with contextlib.redirect_stdout(output):
            yield output
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def _seed() -> None:
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
