"""Which versions of FiftyOne the adapter is for: those whose oldest and newest the tests run on.

This is not in `forebay.fiftyone`, because ``forebay doctor`` must tell without switching the adapter on.
"""

from __future__ import annotations

from importlib import metadata

from packaging.version import Version

OLDEST = "1.10"
NEWEST = "1.22"
SUPPORTED = f"FiftyOne {OLDEST} to {NEWEST}"
REMEDY = "Install a supported version: pip install 'forebay[fiftyone]'; or run: forebay fiftyone disable"


def installed() -> str | None:
    """The version of FiftyOne in this environment, without importing it; ``None`` if there is none."""
    try:
        return metadata.version("fiftyone")
    except metadata.PackageNotFoundError:
        return None


def refusal(version: str) -> str | None:
    """Why the adapter is not for a version, and what to do about it; ``None`` if it is for it."""
    if _minor(OLDEST) <= _minor(version) <= _minor(NEWEST):
        return None
    return (
        f"Forebay's adapter is for {SUPPORTED}, and FiftyOne {version} is installed. FiftyOne stays as it "
        f"is, without cloud media. {REMEDY}"
    )


def is_before(version: str, other: str) -> bool:
    """Whether a version has a lower minor version than another."""
    return _minor(version) < _minor(other)


def _minor(version: str) -> tuple[int, ...]:
    # Releases only: a release candidate of 1.22 has the symbols of 1.22.
    return Version(version).release[:2]
