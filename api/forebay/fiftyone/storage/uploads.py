"""``upload_media`` and ``get_url``, which open-source FiftyOne does not have."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from forebay.fetch.moving import FileState
from forebay.fiftyone import hooks
from forebay.fiftyone.deferred import fos, fou
from forebay.fiftyone.media_uris import is_remote, is_url
from forebay.fiftyone.nested_values import flatten, map_nested
from forebay.fiftyone.signed_lifetime import signed_seconds
from forebay.fiftyone.storage.file_operations import transfer
from forebay.fiftyone.storage.paths import folder
from forebay.fiftyone.storage.remote_objects import STORAGE_MODULE, remote_objects
from forebay.sources.base import ObjectInfo
from forebay.uri import shown


@hooks.add(STORAGE_MODULE, "get_url")
def get_url(path: str, method: str = "GET", hours: float | None = None) -> str:
    """Makes a URL that works without credentials until it expires.

    Args:
        path: a remote path; an http(s) URL is returned unchanged.
        method: the HTTP method that the URL allows: ``GET``, ``HEAD``, ``PUT`` or ``DELETE``.
        hours: for how long the URL is valid, at most 168; by default as long as the environment variable
            ``FIFTYONE_SIGNED_URL_EXPIRATION`` says, else 24.

    Raises:
        ValueError: the path is local.
        SourceError: the credentials cannot sign.
        ConfigError: the variable is no number of hours.
    """
    if not is_remote(path):
        raise ValueError(
            f"Cannot get a URL for local file {shown(path)}; upload it first, with fos.copy_file()"
        )
    if is_url(path):
        return path
    return remote_objects().sign(path, signed_seconds() if hours is None else int(hours * 3600), method)


@hooks.add(STORAGE_MODULE, "upload_media")
def upload_media(
    sample_collection: Any,
    remote_dir: str,
    rel_dir: str | None = None,
    media_field: str = "filepath",
    update_filepaths: bool = False,
    cache: bool | str = False,
    overwrite: bool = False,
    skip_failures: bool | str = False,
    progress: Any = None,
) -> list[Any]:
    """Uploads the media of a collection to a remote folder.

    The files keep their names, with ``-2`` and so on appended where names would clash. Media that are
    already remote are copied, unless they lie in ``remote_dir``, where they stay.

    Args:
        sample_collection: a dataset or view.
        remote_dir: a remote folder.
        rel_dir: a prefix to strip from each path, so that ``remote_dir`` gets the same subfolders; by
            default all files lie directly in it.
        media_field: the field with the paths; may lie in a list, such as ``detections.detections.mask_path``.
        update_filepaths: whether to set the field to the remote paths.
        cache: whether to put uploaded files into the media cache; ``"copy"`` is the same as ``True``, and
            ``"move"`` moves the local files there, when all are uploaded and the field is set. A file stays
            where it is if the cache has no room for it, which is logged.
        overwrite: whether to replace existing remote files; otherwise they count as uploaded.
        skip_failures: whether to go on after failures, which are logged unless it is ``"ignore"``.
        progress: whether to show a progress bar; ``None`` for the configured default, or a callback.

    Returns:
        the remote path of each sample's media, in order: ``None`` for samples that have none, and for
        those whose upload failed and was skipped. Their field stays as it is.

    Raises:
        ValueError: ``remote_dir`` is local, or ``cache`` has a value that is not known.
        ForebayError, OSError: an upload failed, and ``skip_failures`` is false.
    """
    if not is_remote(remote_dir):
        raise ValueError(f"remote_dir={shown(remote_dir)} is not a remote path such as s3://bucket/folder")
    if cache not in (True, False, "copy", "move"):
        raise ValueError(f"cache={shown(cache)} is not allowed: must be True, False, 'copy' or 'move'")
    values = sample_collection.values(media_field)
    targets = _targets([path for path in flatten(values) if path is not None], remote_dir, rel_dir)
    upload = _MediaUpload(overwrite, cache, skip_failures)
    done = fos.run(upload.run, list(targets.items()), progress=progress)
    uploaded = {source: target for (source, target), ok in zip(targets.items(), done, strict=True) if ok}
    if update_filepaths:
        sample_collection.set_values(media_field, map_nested(lambda path: uploaded.get(path) or path, values))
    if cache == "move":
        fos.run(upload.move_in, [one for one in done if isinstance(one, _Written)], progress=False)
    result: list[Any] = map_nested(uploaded.get, values)
    return result


@dataclass(frozen=True)
class _MediaUpload:
    """The options of one `upload_media`, applied to each of its files."""

    overwrite: bool
    cache: bool | str
    skip_failures: bool | str

    def run(self, pair: tuple[str, str]) -> _Written | bool:
        """Uploads one file; returns false if that failed and failures are skipped."""
        return self._attempt(lambda: self._upload(*pair))

    def move_in(self, written: _Written) -> bool:
        """Moves one file that was uploaded into the cache; returns false as `run`."""
        return bool(self._attempt(lambda: remote_objects().move_in(*written) or True))

    def _upload(self, source: str, target: str) -> _Written | bool:
        if source == target or (not self.overwrite and remote_objects().exists(target)):
            return True
        if self.cache != "move" or is_remote(source):
            transfer(source, target, keep=bool(self.cache))
            return True
        with open(source, "rb") as file:
            state = FileState.of(source, file)
            return _Written(source, state, remote_objects().put(target, file))

    def _attempt(self, call: Callable[[], _Written | bool]) -> _Written | bool:
        try:
            return call()
        except Exception as error:
            if not self.skip_failures:
                raise
            if self.skip_failures != "ignore":
                fos.logger.warning(error)
            return False


class _Written(NamedTuple):
    """A local file, its state before it was uploaded, and the object that was written from it."""

    path: str
    state: FileState
    info: ObjectInfo


def _targets(paths: Iterable[str], remote_dir: str, rel_dir: str | None) -> dict[str, str]:
    """The remote path for each file."""
    start = folder(remote_dir)
    paths = list(dict.fromkeys(paths))
    targets = {path: path for path in paths if path.startswith(start)}
    taken = set(targets)
    # Without an output directory, which the maker would list as a local one.
    maker = fou.UniqueFilenameMaker(rel_dir=rel_dir, ignore_existing=True)
    for path in paths:
        if path in targets:
            continue
        target = start + maker.get_output_path(path).replace(os.sep, "/").lstrip("/")
        stem, extension = os.path.splitext(target)
        numbers = itertools.count(2)
        while target in taken:
            target = f"{stem}-{next(numbers)}{extension}"
        taken.add(target)
        targets[path] = target
    return targets
