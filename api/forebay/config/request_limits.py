"""Requests a second by host: which patterns and numbers may be given, and their parts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from forebay.config.kinds import NotAllowedError

_PATTERN = re.compile(r"[A-Za-z0-9.*_\[\]:-]+")


def request_limits(value: Any) -> dict[str, float]:
    """Numbers by host.

    Raises:
        NotAllowedError: a key is no host, or a value is no number above 0.
    """
    if not isinstance(value, dict):
        raise NotAllowedError("must map hosts to requests a second: {'*.example.com': 50}")
    for host, rate in value.items():
        if not isinstance(host, str) or not _PATTERN.fullmatch(host):
            raise NotAllowedError(
                "its keys must be hosts, as data.example.com or *.example.com, without a scheme"
            )
        is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
        if not is_number or not math.isfinite(rate) or rate <= 0:
            raise NotAllowedError("its values must be numbers above 0: requests a second")
    return {host: float(rate) for host, rate in value.items()}


def parts_of(limits: Mapping[str, float], parts: int) -> dict[str, float]:
    """The limits by which one of several processes gets its part."""
    return {host: rate / parts for host, rate in limits.items()}
