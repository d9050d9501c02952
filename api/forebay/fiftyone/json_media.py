"""Media that are JSON: 3D scenes and glTF files."""

from __future__ import annotations

import json
from typing import Any

from forebay.errors import MediaError
from forebay.fiftyone.media_uris import extension
from forebay.uri import redact


def parse_json_object(content: bytes, uri: str) -> dict[str, Any]:
    """Parses the content of the file at ``uri``.

    Raises:
        MediaError: it is no JSON object.
    """
    try:
        found = json.loads(content)
    except ValueError as error:
        raise MediaError(
            f"{redact(uri)}: is not valid JSON, as a {extension(uri)} file must be: {error}"
        ) from None
    if not isinstance(found, dict):
        raise MediaError(f"{redact(uri)}: is not a JSON object, as a {extension(uri)} file must be")
    return found
