"""Recognizing the media type of a URI by the extension of its file name."""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import file_name, is_remote


@hooks.around("eta.core.utils", "guess_mime_type")
@hooks.around("fiftyone.core.media", "get_media_type")
def guess_from_file_name(original: Wrapper, filepath: Any) -> Any:
    return original(f"/{file_name(filepath)}" if is_remote(filepath) else filepath)
