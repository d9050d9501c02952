"""Redacts URIs, so that no password or signature is logged, sent or shown."""

from __future__ import annotations

import re

STORES = ("s3", "gs", "minio")
URLS = ("http", "https")
REMOTE_SCHEMES = STORES + URLS

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST_AND_PORT = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?\Z")


def redact(uri: str) -> str:
    """``uri`` without user name, password and query string, however broken it may be."""
    match = SCHEME.match(uri)
    if match is None:
        return uri
    rest, query = uri[match.end() :], ""
    store = match[1].lower() in STORES
    if not store or "@" in rest.partition("/")[0]:
        rest, query, _ = rest.partition("#")[0].partition("?")
    authority, slash, path = rest.partition("/")
    authority = authority.rpartition("@")[2]
    if ":" in authority and (store or not _HOST_AND_PORT.match(authority)):
        # This may be the beginning of a password that has a slash in it.
        return f"{match[0]}…"
    return match[0] + authority + slash + path + ("?…" if query else "")
