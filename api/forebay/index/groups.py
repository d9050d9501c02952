"""Groups: volumes of one Redis whose workers take objects from each other.

All keys of a group are under one hash tag of their own. What a volume has is read from its own index.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from forebay.index.connection import Connection
from forebay.index.keys import Keys
from forebay.index.records import Entry, batches, json_object

# A server says every few seconds that it lives.
LIVES_SECONDS = 10.0
_URL = re.compile(r"https?://(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_KEY = re.compile(r"[A-Za-z0-9_-]{32,128}")


class GroupKeys:
    """The keys of one group.

    =============== ====== ========================================================================
    key             type   content
    =============== ====== ========================================================================
    ``key``         string the secret that the group's servers ask each caller for
    ``servers``     hash   server -> its volume and its URL, as JSON
    ``alive``       zset   server -> expiry
    =============== ====== ========================================================================
    """

    def __init__(self, group: str) -> None:
        prefix = f"forebay:group:{{{group}}}:"
        self.key = prefix + "key"
        self.servers = prefix + "servers"
        self.alive = prefix + "alive"


@dataclass(frozen=True, slots=True)
class Server:
    """A worker that serves its volume's objects to the group.

    Attributes:
        id: differs with each start of a worker.
        volume: the volume's name.
        url: scheme, host and port.
    """

    id: str
    volume: str
    url: str

    @classmethod
    def parse(cls, server: str, text: str) -> Server | None:
        """The server that a record in Redis describes; ``None`` where it describes none.

        The address is checked here, as the group's key is sent there: it must be the URL of a host, and no
        address that means something else than a machine of the user's, such as a cloud's metadata server.
        """
        found = json_object(text)
        volume, url = found.get("volume"), found.get("url")
        if not isinstance(volume, str) or not isinstance(url, str):
            return None
        if not (_VOLUME.fullmatch(volume) and _URL.fullmatch(url) and _may_serve(url)):
            return None
        return cls(server, volume, url)


class Groups:
    """One group on one Redis.

    Args:
        group: its name.
    """

    def __init__(self, connection: Connection, group: str) -> None:
        self._connection = connection
        self._keys = GroupKeys(group)

    def key(self) -> str:
        """The group's secret, which is made once."""
        self._connection.command("setnx", self._keys.key, secrets.token_urlsafe(32))
        found = str(self._connection.command("get", self._keys.key))
        # It becomes a header of requests.
        return found if _KEY.fullmatch(found) else ""

    def announce(self, server: Server, seconds: float = LIVES_SECONDS) -> None:
        """Records that a server lives, for so many seconds."""
        record = json.dumps({"volume": server.volume, "url": server.url})
        keys = [self._keys.servers, self._keys.alive]
        self._connection.script("group_announce", keys, [server.id, record, seconds])

    def retire(self, server: Server) -> None:
        """Removes a server that has stopped."""
        self._connection.pipeline(
            ("zrem", self._keys.alive, server.id), ("hdel", self._keys.servers, server.id)
        )

    def servers(self) -> list[Server]:
        """The servers that live, in no order."""
        found = self._connection.script("group_members", [self._keys.servers, self._keys.alive], [])
        pairs = zip(found[::2], found[1::2], strict=True)
        return [one for one in (Server.parse(*pair) for pair in pairs) if one is not None]

    def cached_in(self, volumes: Sequence[str], entries: Sequence[str]) -> list[list[Entry | None]]:
        """What each volume has of some entries: for each volume the values of all, in their order."""
        found: list[list[Entry | None]] = [[] for _ in volumes]
        if not volumes:
            return found
        for batch in batches(entries):
            commands = [("hmget", Keys(volume).entries, batch) for volume in volumes]
            for values, answer in zip(found, self._connection.pipeline(*commands), strict=True):
                values += [None if value is None else Entry.parse(value) for value in answer]
        return found


def published(connection: Connection, volume: str, entry: str) -> Entry | None:
    """The value of an entry of a volume that is published, and neither replaced nor evicted now."""
    keys = Keys(volume)
    value, claim = connection.pipeline(("hget", keys.entries, entry), ("hget", keys.claims, entry))
    return None if value is None or claim is not None else Entry.parse(value)


def _may_serve(url: str) -> bool:
    try:
        parts = urlsplit(url)
        if not 1 <= (parts.port or 0) <= 65535:
            return False
    except ValueError:
        return False
    host = parts.hostname or ""
    with contextlib.suppress(OSError, UnicodeError):
        # Also spelled as a number, which a system's resolver takes for an address.
        host = socket.inet_ntoa(socket.inet_aton(host))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "[" not in url
    return not (address.is_link_local or address.is_multicast or address.is_unspecified)
