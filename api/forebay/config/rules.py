"""What only one setting requires of its value. Each function returns it, or raises `NotAllowedError`."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

from forebay.config.kinds import NotAllowedError
from forebay.config.redis_address import CLUSTER_SCHEMES, SENTINEL_SCHEMES, kind_of, parse_address
from forebay.config.redis_parameters import check_parameters
from forebay.uri import shown

_CLIENTS = ("s3", "gs", "gcs", "minio", "azure", "http")
# What arguments are kept by is the scheme of the URIs.
_SCHEMES = {"gcs": "gs", "azure": "az"}
_REDIS = ("redis://", "rediss://", "unix://", "redis+socket://", *SENTINEL_SCHEMES, *CLUSTER_SCHEMES)


def absolute(path: str) -> str:
    """The path of a directory, made absolute."""
    if not path.strip() or "\0" in path:
        raise NotAllowedError("must be the path of a directory")
    path = os.path.expanduser(path)
    if path == "~" or path.startswith("~/"):
        raise NotAllowedError("this user has no home directory; set FIFTYONE_MEDIA_CACHE_DIR to a full path")
    return os.path.abspath(path)


def one_name(name: str) -> str:
    """A name that may be a part of a key in Redis, and of a URL."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise NotAllowedError(
            "must begin with a letter or digit, and have at most 63 letters, digits, dots, underscores "
            "and hyphens"
        )
    return name


def one_volume(name: str) -> str:
    """The name of a volume."""
    if name == "all":
        raise NotAllowedError("'all' stands for every volume; give this one another name")
    return one_name(name)


def address(text: str) -> str:
    """An address that others can connect to: a host, and a port if it is to be a certain one."""
    match = re.fullmatch(
        r"([A-Za-z0-9_][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?", text
    )
    if match is None or int(match[2] or 0) > 65535:
        raise NotAllowedError("must be HOST or HOST:PORT, such as 10.0.0.7 or node7:9500")
    if match[1] in ("0.0.0.0", "[::]"):
        raise NotAllowedError("must be an address that the others can connect to: name this machine's own")
    return text


def not_empty(text: str) -> str:
    """Text of at least one character."""
    if not text:
        raise NotAllowedError("string should have at least 1 character")
    return text


def samples_of_a_message(count: int | str) -> int | str:
    """How many samples a message has."""
    if isinstance(count, int) and not 1 <= count <= 1000:
        raise NotAllowedError("must be 'auto' or a number from 1 to 1000")
    return count


def by_client(value: Any) -> dict[str, dict[str, Any]]:
    """Arguments by the client that takes them; Google's has two names."""
    if (
        not isinstance(value, dict)
        or not all(client in (*_CLIENTS, "az") for client in value)
        or not all(isinstance(arguments, dict) for arguments in value.values())
    ):
        raise NotAllowedError(
            f"must map {', '.join(_CLIENTS[:-1])} or {_CLIENTS[-1]} to an object of arguments"
        )
    for other, scheme in _SCHEMES.items():
        if other in value and scheme in value:
            raise NotAllowedError(f"{other!r} and {scheme!r} are two names of one client: keep one")
    return {_SCHEMES.get(str(client), str(client)): arguments for client, arguments in value.items()}


def redis_url(url: str) -> str:
    """The URL of a Redis database."""
    if not url.startswith(_REDIS):
        raise NotAllowedError(f"must be a Redis URL ({', '.join(_REDIS)})")
    if kind_of(url) != "server":
        # First, as its errors repeat nothing of a URL that cannot be taken apart.
        parse_address(url)
        check_parameters(url)
        return url
    try:
        where = database(url)
        if isinstance(where, tuple) and where[0]:
            where[0].encode("idna")
    except ValueError:  # its text may repeat the password
        raise NotAllowedError("its host or port cannot be read") from None
    if url.startswith(_REDIS[:2]) and not re.fullmatch("/?[0-9]*", urlsplit(url).path):
        raise NotAllowedError("its database must be a number, as in redis://host:6379/0")
    check_parameters(url)
    return url


def broker_url(url: str) -> str:
    """The URL of the Redis of Celery's queue."""
    if kind_of(url) == "cluster":
        raise NotAllowedError(
            "Celery cannot keep its queue in a Redis Cluster: name a Redis without cluster mode, or one "
            "behind Sentinels (redis+sentinel://host1:26379,host2:26379/mymaster/0)"
        )
    return redis_url(url)


def database(url: str) -> tuple[str | None, int, str] | str:
    """The identity of a Redis database: host, port and number; master and number behind Sentinels; or the
    whole URL of a socket.

    Raises:
        ValueError: the URL cannot be read.
    """
    if kind_of(url) == "sentinel":
        address = parse_address(url)
        return (
            ",".join(f"{host}:{port}" for host, port in sorted(address.hosts)),
            0,
            (f"{address.master}/{address.database}"),
        )
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        return url
    return parts.hostname, parts.port or 6379, parts.path.strip("/") or "0"


def logins(text: str) -> str:
    """Logins of Flower."""
    if not all(re.fullmatch("[^:]+:.+", login) for login in text.split(",")):
        raise NotAllowedError("must be user:password")
    return text


def prefixes(value: list[str]) -> list[str]:
    """Prefixes of URIs."""
    for prefix in value:
        if not re.match(r"[A-Za-z0-9+.-]+://", prefix):
            raise NotAllowedError(
                f"{shown(prefix)} is not a URI prefix such as s3://bucket/ or https://host/"
            )
    return value


def full_path(path: str) -> str:
    """The full path of a directory, which need not be there."""
    if not path.startswith(("/", "~/")):
        raise NotAllowedError("must be the full path of a directory, such as /mnt/nas")
    return absolute(path)


def local_roots(value: list[str]) -> list[str]:
    """Full paths of directories."""
    roots = [full_path(path) for path in value]
    if "/" in roots:
        raise NotAllowedError("must name directories such as /mnt/nas, and not the whole file system")
    return roots
