"""Datasets in remote directories: exported to there, and imported from there."""

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
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.log import log
from forebay.fiftyone.media import is_remote, media_cache
from forebay.uri import redact

# These read the labels of an imported dataset.
_READERS = (
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
    """Exports to a remote directory by way of a local one, from which everything is uploaded.

    Raises:
        ValueError: an option would delete remote files or local originals, or the remote directory is
            not given as ``export_dir``.
    """
    given = inspect.signature(original).bind(self, *args, **kwargs)
    target = given.arguments.get("export_dir")
    if not is_remote(target):
        _refuse_other_places(given.arguments)
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

    import fiftyone.core.storage as fos

    # Whoever may write there need not be allowed to list it.
    with contextlib.suppress(SourceError):
        if fos.isdir(target):
            log.warning(
                "Directory '%s' already exists; export will be merged with existing files", redact(target)
            )
    with fos.TempDir() as directory:
        # Its own name is where formats that write it into their files expect it.
        below = os.path.join(directory, posixpath.basename(target.rstrip("/")))
        given.arguments["export_dir"] = below
        result = original(*given.args, **given.kwargs)
        if os.path.isdir(below):
            _rename(below, target.rstrip("/"))
            fos.copy_dir(below, target, overwrite=False)
        else:
            fos.copy_file(below, target)
    return result


@hooks.around("fiftyone.core.dataset", "_extract_archive_if_necessary")
def extract_archive(original: Wrapper, archive_path: Any, cleanup: Any) -> Any:
    """Refuses archives whose contents would have to be written beside them.

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

    import fiftyone.core.storage as fos

    same: Any = getattr(fos, original.__name__)
    return same(dir_path, *args, **kwargs)


@hooks.around("eta.core.utils", "get_glob_matches")
def get_glob_matches(original: Wrapper, glob_patt: Any) -> Any:
    if not is_remote(glob_patt):
        return original(glob_patt)

    import fiftyone.core.storage as fos

    return fos.get_glob_matches(glob_patt)


def _open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    if not is_remote(file):
        return builtins.open(file, mode, *args, **kwargs)

    import fiftyone.core.storage as fos

    if "r" in mode:
        # Labels are wanted as they are now, not as they were when they were cached.
        media_cache().download_media([file], update=True, progress=False).forget()
    return fos.open_file(file, mode.replace("t", ""))


for _module in _READERS:

    @hooks.replace(_module, "open", new=True)
    def open_labels(_: Any) -> Any:
        return _open


def _refuse_other_places(arguments: dict[str, Any]) -> None:
    """A part of an export alone cannot go elsewhere, nor can an exporter be sent there."""
    options = arguments.get("kwargs", {})
    exporter = arguments.get("dataset_exporter")
    for name in ("export_dir", "data_path", "labels_path"):
        place = arguments.get(name, options.get(name)) or getattr(exporter, name, None)
        if is_remote(place) and arguments.get("export_media") is not False:
            raise ValueError(
                f"cannot export to {redact(place)} by {name}: pass the remote directory as export_dir=, "
                f"with dataset_type="
            )


def _rename(directory: str, target: str) -> None:
    """Lets files that name the directory in which they were written name the one to which they go."""
    for file in Path(directory).rglob("*"):
        if file.suffix in _TEXT and file.is_file():
            text = file.read_text(encoding="utf-8")
            if directory in text:
                file.write_text(text.replace(directory, target), encoding="utf-8")
