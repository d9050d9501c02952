"""Makes text of what users gave, so that no password, key or signature is logged, sent or shown.

`redact` does that for what ought to be a URI, `shown` for anything at all: a setting, an argument, a line.
"""

from __future__ import annotations

import os
import re

from forebay.uri.aliases import aliases, canonical

STORES = ("s3", "gs", "minio", "az")
URLS = ("http", "https")
REMOTE_SCHEMES = STORES + URLS

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
AZURE_CLOUDS = (
    r"(?:core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net|cloudapi\.de)|fabric\.microsoft\.com)"
)
"""What hosts of Azure's storage accounts end in, as a regular expression: a cloud has accounts of its own."""
# Azure's own way to name an account, which holds no password: abfss://container@account.dfs.core.windows.net/
CONTAINER_AND_ACCOUNT = re.compile(r"[a-z0-9$][a-z0-9-]{0,62}@[a-z0-9]{3,24}\.(?:blob|dfs)\." + AZURE_CLOUDS)
# The signature of one, which people leave in a URI that is none of http(s).
SAS = re.compile(r"\?(?:[^?]*&)?sig=", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?\Z")
# What looks like a URL, although its beginning is broken: "https//", "https:/", "//", a blank before it.
_BROKEN_URL = re.compile(
    r"\s*(?:(?:https?|s3|gs|minio|rediss?|unix|ftp|az|abfss?)\s*[:/\\]|[/\\]{2}|\s+[a-z0-9+.-]+:)", re.I
)
_LOGIN = re.compile(r"\A(\s*[A-Za-z][A-Za-z0-9+.-]*:?[/\\]+|\s*[/\\]+|)(.*)@", re.DOTALL)
_QUERY = re.compile(r"\?[^?]*=.*", re.DOTALL)
# The text of a key where its file should be named: JSON, INI, PEM; and Azure's connection strings, SAS tokens
# and account keys, which are 64 bytes in base64.
_KEY_ITSELF = re.compile(
    r"\s*[\[{]|.*PRIVATE KEY|.*(?:AccountKey|SharedAccess(?:Key|Signature))\s*="
    r"|\s*\??(?:[a-z]{2,6}=[^&]*&)*sig=|\s*[A-Za-z0-9+/]{86}==\s*\Z",
    re.DOTALL | re.IGNORECASE,
)
_MOST = 2000


def remote_schemes() -> tuple[str, ...]:
    """All that a remote URI may begin with: `REMOTE_SCHEMES`, and the aliases of this process."""
    return REMOTE_SCHEMES + aliases()


def redact(uri: str) -> str:
    """``uri`` without user name, password and query string, however broken it may be."""
    match = SCHEME.match(uri)
    if match is None:
        return _redact_broken(uri)
    rest, query = uri[match.end() :], ""
    store = canonical(match[1].lower()) in STORES
    if store and SAS.search(rest):
        return f"{redact(uri.partition('?')[0])}?…"
    if store and CONTAINER_AND_ACCOUNT.fullmatch(rest.partition("/")[0]):
        return uri
    if not store or "@" in rest.partition("/")[0]:
        rest, query, _ = rest.partition("#")[0].partition("?")
    authority, slash, path = rest.partition("/")
    authority = authority.rpartition("@")[2]
    if ":" in authority and (store or not _HOST_AND_PORT.match(authority)):
        # This may be the beginning of a password that has a slash in it.
        return f"{match[0]}…"
    if not authority and "@" in path and match[1].lower() != "file":
        return f"{match[0]}…"
    return match[0] + authority + slash + path + ("?…" if query else "")


def shown(value: object) -> str:
    """Text for people of anything that a user gave: quoted, short, and without secrets.

    Text that is a key itself, or that is no text where text should be, is not shown at all.
    """
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if not isinstance(value, str):
        return f"a value of the type {type(value).__name__}"
    return repr(plain(value))


def is_key_itself(text: str) -> bool:
    """Whether a text seems to be what a file or a variable should hold, where that one should be named."""
    return _KEY_ITSELF.match(text) is not None


def plain(text: str) -> str:
    """`shown` without the quotation marks."""
    if is_key_itself(text):
        return "***"
    text = redact(text)
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def _redact_broken(text: str) -> str:
    """``text`` that has no scheme: a local path, or something that its user took for a URL."""
    is_url = _BROKEN_URL.match(text) is not None
    login, at, _ = text.rpartition("@")
    if at and (is_url or (":" in login and not text.startswith(("/", ".")))):
        is_url, text = True, _LOGIN.sub(r"\1***@", text)
    return _QUERY.sub("?…", text) if is_url else text
