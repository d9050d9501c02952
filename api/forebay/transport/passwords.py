"""``~/.netrc``: passwords by host. libcurl's own reading is off, as it would override what was set."""

from __future__ import annotations

import base64
import netrc
import os
from collections.abc import Mapping


def login_of(host: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password of a host, from the file that NETRC names, ``~/.netrc`` or ``~/_netrc``.

    A file that is missing, that may not be read or that has mistakes counts as empty.
    """
    home = environment.get("HOME") or os.path.expanduser("~")
    places = (
        [environment["NETRC"]]
        if environment.get("NETRC")
        else [os.path.join(home, name) for name in (".netrc", "_netrc")]
    )
    for place in places:
        try:
            found = netrc.netrc(os.path.expanduser(place)).authenticators(host)
        except (OSError, netrc.NetrcParseError, UnicodeError):
            continue
        return (found[0], found[2] or "") if found is not None else None
    return None


def basic(user: str, password: str) -> str:
    """The value of an Authorization header for a user and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
