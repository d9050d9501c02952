"""Media URIs: parsing, redaction, the entry that a URI names, and the path of an entry.

The way from a URI to a file: `parsing` takes the URI apart, `entry` names its entry, `layout` maps the name
to a path. `redaction` makes a URI safe to show.
"""

from forebay.uri.entry import uri_of
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
)
from forebay.uri.redaction import REMOTE_SCHEMES, redact

__all__ = [
    "REMOTE_SCHEMES",
    "Layout",
    "MediaURI",
    "entries_of",
    "entry_of",
    "is_local",
    "local_file",
    "parse",
    "parse_object",
    "redact",
    "uri_list",
    "uri_of",
]
