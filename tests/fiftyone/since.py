"""What the installed FiftyOne lacks, because a later version began with it: such tests are skipped."""

from __future__ import annotations

from importlib import metadata

import pytest

from forebay.config.fiftyone_versions import is_before


def reason_to_skip(version: str, what: str) -> str | None:
    """Why the installed FiftyOne cannot do something; ``None`` if it is at least of this version."""
    installed = metadata.version("fiftyone")
    if not is_before(installed, version):
        return None
    return f"FiftyOne {installed} lacks it: {what}, since FiftyOne {version}"


def since(version: str, what: str) -> pytest.MarkDecorator:
    """The decorated test is skipped on older versions of FiftyOne, with the reason."""
    reason = reason_to_skip(version, what)
    return pytest.mark.skipif(reason is not None, reason=reason or "")
