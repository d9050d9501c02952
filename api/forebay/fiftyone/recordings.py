"""LeRobot datasets in buckets, which FiftyOne reads through its storage functions, with two exceptions."""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks
from forebay.fiftyone.deferred import fomr, fos
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import is_remote, is_url
from forebay.uri import entry_of, redact


@hooks.around("fiftyone.utils.lerobot", "_validate_dataset_root")
def validate_dataset_root(original: Wrapper, dataset_root: Any) -> Any:
    """Checks the directory of a dataset, and updates what is cached of its description.

    Raises:
        MissingMediaRootError: there is no such directory, or it is one of a web server.
    """
    if not is_remote(dataset_root):
        return original(dataset_root)
    if is_url(dataset_root):
        raise fomr.MissingMediaRootError(
            f"{redact(dataset_root)}: a LeRobot dataset cannot be read from a web server, which does not "
            "list its files: name its bucket, as s3://bucket/folder, or copy it to a local directory"
        )
    root = original(dataset_root)
    _update_description(root)
    return root


def _update_description(root: str) -> None:
    """A dataset grows in place, so copies from before would tell of fewer episodes than there are."""
    files = media_cache().engine.files
    found = fos.list_files(fos.join(root, "meta"), abs_paths=True, recursive=True)
    cached = [uri for uri in found if files.locate(entry_of(uri)) is not None]
    if cached:
        media_cache().download_media(cached, update=True, progress=False).forget()
