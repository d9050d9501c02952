"""Where a Redis is: one server, a master that Sentinels name, or a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from forebay.config.kinds import NotAllowedError

SENTINEL_SCHEMES = ("redis+sentinel://", "rediss+sentinel://", "sentinel://")
CLUSTER_SCHEMES = ("redis+cluster://", "rediss+cluster://")
_PORTS = {"sentinel": 26379}
_EXAMPLES = {
    "sentinel": "redis+sentinel://host1:26379,host2:26379/mymaster/0",
    "cluster": "redis+cluster://host1:6379,host2:6379",
}
# Of the URLs that Celery writes with semicolons, each begins like this.
_NEXT = re.compile(r";(?=sentinel://)")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:/,;\s]+)(?::([0-9]{1,5}))?")

Kind = Literal["server", "sentinel", "cluster"]


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """What the URL of a Redis on TCP says.

    Attributes:
        kind: ``sentinel``: the hosts are Sentinels; ``cluster``: they are nodes of one cluster.
        tls: whether all connections use TLS, those to Sentinels included.
        hosts: host and port of each.
        master: the name under which the Sentinels know the master.
        database: its number.
        username, password: for the servers.
        sentinel_username, sentinel_password: for the Sentinels themselves.
        options: the other parameters of the query, such as ``ssl_certfile``.
    """

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    master: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def further(self, databases: int) -> RedisAddress:
        """The same for the database so many further."""
        return replace(self, database=self.database + databases)

    @property
    def url(self) -> str:
        """The URL in Forebay's own form."""
        scheme = ("rediss" if self.tls else "redis") + ("" if self.kind == "server" else f"+{self.kind}")
        login = quote(self.username or "", safe="")
        login += f":{quote(self.password, safe='')}" if self.password is not None else ""
        hosts = ",".join(f"{host_text(host)}:{port}" for host, port in self.hosts)
        path = f"{quote(self.master, safe='')}/{self.database}" if self.master else str(self.database)
        own = {"sentinel_username": self.sentinel_username, "sentinel_password": self.sentinel_password}
        query = urlencode([*((k, v) for k, v in own.items() if v is not None), *self.options])
        return f"{scheme}://{login}{'@' * bool(login)}{hosts}/{path}" + (f"?{query}" if query else "")

    def tls_url(self, host: str, port: int, *, login: tuple[str | None, str | None] | None = None) -> str:
        """A URL for redis-py of one of the hosts, with the parameters of TLS, and database 0 for a Sentinel.

        Args:
            login: user and password; by default those for the servers.
        """
        username, password = (self.username, self.password) if login is None else login
        one = replace(self, kind="server", hosts=((host, port),), master="", sentinel_username=None)
        one = replace(one, sentinel_password=None, username=username, password=password)
        return (one if login is None else replace(one, database=0)).url


def host_text(host: str) -> str:
    """A host as URLs write it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def kind_of(url: str) -> Kind:
    """What kind of Redis a URL names."""
    if url.startswith(SENTINEL_SCHEMES):
        return "sentinel"
    return "cluster" if url.startswith(CLUSTER_SCHEMES) else "server"


def parse_address(url: str) -> RedisAddress:
    """What a URL says: ``redis://``, ``redis+sentinel://``, ``sentinel://…;sentinel://…``, ``redis+cluster://``,
    and ``rediss…`` for TLS.

    Raises:
        NotAllowedError: it cannot be read. The text repeats nothing of it.
    """
    kind = kind_of(url)
    queries: dict[str, str] = {}
    hosts: list[tuple[str, int]] = []
    login, path = "", ""
    for one in _NEXT.split(url) if url.startswith("sentinel://") else [url]:
        try:
            parts = urlsplit(one)
        except ValueError:
            raise NotAllowedError("its host or port cannot be read") from None
        user, _, names = parts.netloc.rpartition("@")
        hosts += (_host(name, _PORTS.get(kind, 6379)) for name in names.split(","))
        queries |= dict(parse_qsl(parts.query, keep_blank_values=True))
        login, path = login or user, parts.path.strip("/") or path
    username, has_password, password = login.partition(":")
    database = queries.pop("db", "") or queries.pop("virtual_host", "")
    master, path = _master(queries, path) if kind == "sentinel" else ("", path)
    if not re.fullmatch("[0-9]{0,9}", database or path):
        raise NotAllowedError(f"its database must be a number, as in {_EXAMPLES.get(kind, 'redis://host/0')}")
    if kind == "cluster" and int(database or path or 0):
        raise NotAllowedError("a cluster has the database 0 only: leave the number out")
    return RedisAddress(
        kind,
        url.startswith("rediss") or queries.pop("ssl", "") == "true",
        tuple(hosts),
        master,
        int(database or path or 0),
        unquote(username) or queries.pop("username", None),
        unquote(password) if has_password else queries.pop("password", None),
        queries.pop("sentinel_username", None),
        queries.pop("sentinel_password", None),
        tuple(queries.items()),
    )


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or int(found[2] or port) > 65535:
        raise NotAllowedError("its host or port cannot be read")
    try:
        found[1].strip("[]").encode("idna")
    except UnicodeError:
        raise NotAllowedError("its host or port cannot be read") from None
    return found[1].strip("[]"), int(found[2] or port)


def _master(queries: dict[str, str], path: str) -> tuple[str, str]:
    named, (first, _, rest) = queries.pop("master_name", ""), path.partition("/")
    if named:
        return named, rest or (first if first.isdecimal() else "")
    if not first or (first.isdecimal() and not rest):
        raise NotAllowedError(
            f"it must name the master that the Sentinels watch, as in {_EXAMPLES['sentinel']}, or with "
            "?master_name=mymaster"
        )
    return unquote(first), rest
