"""The forms that a stand-in for CVAT is sent."""

from __future__ import annotations

import io
from typing import Any

from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header


def read_form(raw: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a form, and the contents of its files."""
    fields, files = _parsed(raw, content_type)
    return {**dict(fields), **{name: file.read() for name, file in files.items()}}


def read_files(raw: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """The files of a form, with their own names."""
    return [(file.filename, file.read()) for _, file in _parsed(raw, content_type)[1].items()]


def _parsed(raw: bytes, content_type: str) -> tuple[Any, Any]:
    kind, options = parse_options_header(content_type)
    _, fields, files = FormDataParser().parse(io.BytesIO(raw), kind, len(raw), options)
    return fields, files
