"""Media URIs: parsing, redaction, the entry that a URI names, and the path of an entry.

The way from a URI to a file: `parsing` takes the URI apart, `entry` names its entry, `layout` maps the name
to a path. `redaction` makes a URI safe to show, and `aliases` has other names of schemes.
"""

from forebay.uri.aliases import canonical_uri
from forebay.uri.entry import is_entry, plain_entry, uri_of
from forebay.uri.layout import Layout
from forebay.uri.parsing import (
    MediaURI,
    entries_of,
    entry_of,
    is_local,
    local_file,
    parse,
    parse_object,
    uri_list,
    uri_text,
)
from forebay.uri.redaction import (
    AZURE_CLOUDS,
    REMOTE_SCHEMES,
    STORES,
    is_key_itself,
    plain,
    redact,
    remote_schemes,
    shown,
)

__all__ = [
    "AZURE_CLOUDS",
    "REMOTE_SCHEMES",
    "STORES",
    "Layout",
    "MediaURI",
    "canonical_uri",
    "entries_of",
    "entry_of",
    "is_entry",
    "is_key_itself",
    "is_local",
    "local_file",
    "parse",
    "parse_object",
    "plain",
    "plain_entry",
    "redact",
    "remote_schemes",
    "shown",
    "uri_list",
    "uri_of",
    "uri_text",
]
