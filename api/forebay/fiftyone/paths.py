"""URIs are absolute: what FiftyOne does to paths leaves them as they are."""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks, media
from forebay.fiftyone.hooks import Wrapper


@hooks.around("fiftyone.core.storage", "normalize_path", "realpath")
def unchanged(original: Wrapper, path: Any) -> Any:
    return path if media.is_remote(path) else original(path)


@hooks.around("fiftyone.core.storage", "isabs")
def isabs(original: Wrapper, path: Any) -> bool:
    return media.is_remote(path) or original(path)
