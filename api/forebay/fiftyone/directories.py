"""Datasets in remote directories: exporting to them, and importing from them."""

from __future__ import annotations

import builtins
import contextlib
import inspect
import os
import posixpath
from pathlib import Path
from typing import Any

from forebay.errors import SourceError
from forebay.fiftyone import hooks
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.deferred import fos
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import is_remote
from forebay.uri import redact

# The modules that open the label files of an imported dataset.
_LABEL_READERS = (
    "eta.core.serial",
    "eta.core.utils",
    "fiftyone.core.odm.database",
    "fiftyone.core.utils",
    "fiftyone.utils.coco",
    "fiftyone.utils.csv",
    "fiftyone.utils.kitti",
    "fiftyone.utils.yolo",
)
_TEXT = {".csv", ".geojson", ".json", ".txt", ".xml", ".yaml"}


@hooks.around("fiftyone.core.collections", "SampleCollection.export")
def export(original: Wrapper, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Exports to a temporary local directory, and uploads it to the remote one.

    Raises:
        ValueError: an option would delete remote files or local originals, or the remote directory is
            not given as ``export_dir``.
    """
    given = inspect.signature(original).bind(self, *args, **kwargs)
    target = given.arguments.get("export_dir")
    if not is_remote(target):
        _refuse_remote_parts(given.arguments)
        return original(self, *args, **kwargs)
    if given.arguments.get("overwrite"):
        raise ValueError(
            f"an export does not delete what lies in {redact(target)}: call fos.delete_dir() before it, "
            f"and leave out overwrite=True"
        )
    if given.arguments.get("export_media") == "move":
        raise ValueError(
            f"an export does not move media to {redact(target)}: use export_media=True, which copies it"
        )

    # Credentials that may write there need not be allowed to list it.
    with contextlib.suppress(SourceError):
        if fos.isdir(target):
            log.warning(
                "Directory '%s' already exists; export will be merged with existing files", redact(target)
            )
    with fos.TempDir() as directory:
        # The same name, because some formats write the directory's name into their files.
        local = os.path.join(directory, posixpath.basename(target.rstrip("/")))
        given.arguments["export_dir"] = local
        result = original(*given.args, **given.kwargs)
        if os.path.isdir(local):
            _replace_directory(local, target.rstrip("/"))
            fos.copy_dir(local, target, overwrite=False)
        else:
            fos.copy_file(local, target)
    return result


@hooks.around("fiftyone.core.dataset", "_extract_archive_if_necessary")
def extract_archive(original: Wrapper, archive_path: Any, cleanup: Any) -> Any:
    """Refuses remote archives, whose contents would have to be written beside them.

    Raises:
        ValueError: the archive is remote.
    """
    if is_remote(archive_path):
        raise ValueError(
            f"{redact(archive_path)} is remote and cannot be extracted in its place: copy it to a local "
            f"directory with fos.copy_file() first"
        )
    return original(archive_path, cleanup)


@hooks.around("eta.core.utils", "list_files", "list_subdirs")
def list_directory(original: Wrapper, dir_path: Any, *args: Any, **kwargs: Any) -> Any:
    if not is_remote(dir_path):
        return original(dir_path, *args, **kwargs)

    same: Any = getattr(fos, original.__name__)
    return same(dir_path, *args, **kwargs)


@hooks.around("eta.core.utils", "get_glob_matches")
def get_glob_matches(original: Wrapper, glob_patt: Any) -> Any:
    if not is_remote(glob_patt):
        return original(glob_patt)

    return fos.get_glob_matches(glob_patt)


def _open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    if not is_remote(file):
        return builtins.open(file, mode, *args, **kwargs)

    if "r" in mode:
        # Labels must be current, so a cached copy is updated first.
        media_cache().download_media([file], update=True, progress=False).forget()
    return fos.open_file(file, mode.replace("t", ""))


for _module in _LABEL_READERS:

    @hooks.replace(_module, "open", new=True)
    def open_labels(_: Any) -> Any:
        return _open


def _refuse_remote_parts(arguments: dict[str, Any]) -> None:
    """Refuses to export only the media or only the labels to a remote directory."""
    options = arguments.get("kwargs", {})
    exporter = arguments.get("dataset_exporter")
    for name in ("export_dir", "data_path", "labels_path"):
        path = arguments.get(name, options.get(name)) or getattr(exporter, name, None)
        if is_remote(path) and arguments.get("export_media") is not False:
            raise ValueError(
                f"cannot export to {redact(path)} by {name}: pass the remote directory as export_dir=, "
                f"with dataset_type="
            )


def _replace_directory(directory: str, target: str) -> None:
    """Replaces the local directory's path in the exported text files by the remote one."""
    for file in Path(directory).rglob("*"):
        if file.suffix in _TEXT and file.is_file():
            text = file.read_text(encoding="utf-8")
            if directory in text:
                file.write_text(text.replace(directory, target), encoding="utf-8")
