"""The parameters that the URL of a Redis may have in its query."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from forebay.config.kinds import NotAllowedError
from forebay.config.redis_address import kind_of

# Others would change what Forebay itself settles: how answers are decoded, how long it waits.
_ALLOWED = (
    "db",
    "virtual_host",
    "username",
    "password",
    "client_name",
    "protocol",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_password",
)
_OF_SENTINELS = ("master_name", "sentinel_username", "sentinel_password")
_NUMBERS = ("db", "virtual_host", "protocol")
# Of the files of TLS, those that must be there.
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def check_parameters(url: str) -> None:
    """Checks the query of a URL.

    Raises:
        NotAllowedError: it has a parameter that is not known, or no number where one must be.
    """
    sentinel = kind_of(url) == "sentinel"
    # TLS is a parameter only where the scheme, which is Celery's, has no form for it.
    own = ("ssl",) if url.startswith("sentinel://") else ()
    allowed = (*_ALLOWED, *_OF_SENTINELS, *own) if sentinel else _ALLOWED
    queries = [urlsplit(one).query for one in url.split(";sentinel://")] if own else [urlsplit(url).query]
    for name, value in (pair for query in queries for pair in parse_qsl(query, keep_blank_values=True)):
        if name not in allowed:
            # A password that was not quoted may look like one.
            shown = f" {name!r}" if re.fullmatch("[a-z_]{1,40}", name) else ""
            raise NotAllowedError(f"unknown parameter{shown} in its query: allowed are {', '.join(allowed)}")
        if name in _NUMBERS and not value.isdecimal():
            raise NotAllowedError(f"the parameter {name!r} in its query must be a number")
