"""What a transfer has of its object before it asks the source."""

from __future__ import annotations

from forebay.fetch.destination import Destination
from forebay.fetch.kept_copy import KeptCopy
from forebay.fetch.local_copy import LocalCopy
from forebay.fetch.partial_file import PartialFile
from forebay.fetch.upstream_copy import UpstreamCopy
from forebay.fetch.work import Item
from forebay.uri.local_roots import SCHEME as LOCAL_SCHEME
from forebay.volume.reservation import Reservation


def copy_of(item: Item, to: Destination, place: PartialFile, reservation: Reservation) -> KeptCopy | None:
    """The copy that another may replace, a file upstream, or the local file that it is; else ``None``."""
    if item.uri.scheme == LOCAL_SCHEME:
        return LocalCopy(item, to, place, reservation)
    if item.old:
        return KeptCopy(item, to.files)
    if to.upstream is None or item.block is not None or item.is_nearby:
        return None
    found = to.upstream.find(item.uri, item.entry)
    limit = to.config.limit
    if found is None or (limit is not None and found[1].st_size > limit):
        return None
    return UpstreamCopy(item, to, place, reservation, to.upstream, found)
