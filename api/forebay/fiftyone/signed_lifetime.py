"""How long a signed URL is valid where its caller does not say: the variable that FiftyOne's users know."""

from __future__ import annotations

import os

from forebay.errors import ConfigError
from forebay.uri import shown

VARIABLE = "FIFTYONE_SIGNED_URL_EXPIRATION"
DEFAULT_SECONDS = 24 * 3600
# No cloud signs for longer.
_LONGEST_HOURS = 7 * 24


def signed_seconds() -> int:
    """The seconds from ``FIFTYONE_SIGNED_URL_EXPIRATION``, which counts in hours; 24 hours by default.

    Raises:
        ConfigError: it is no number of hours that a cloud signs for.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return DEFAULT_SECONDS
    try:
        seconds = int(float(text) * 3600)
    except (ValueError, OverflowError):
        seconds = 0
    if not 1 <= seconds <= _LONGEST_HOURS * 3600:
        raise ConfigError(
            f"environment variable {VARIABLE}={shown(text)} must be a number of hours, at most "
            f"{_LONGEST_HOURS}",
            setting=VARIABLE,
        )
    return seconds
