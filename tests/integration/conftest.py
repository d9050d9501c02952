"""A Redis, caches and groups on it, the command line, and a transport."""

from collections.abc import Iterator

import pytest

from forebay.transport import Transport, TransportSettings
from tests.caches import cache, make_cache, no_roots, valkey
from tests.commands import forebay
from tests.groups import make_group
from tests.servers.proxy import Proxy

__all__ = ["cache", "forebay", "make_cache", "make_group", "no_roots", "valkey"]


@pytest.fixture
def proxied(s3_environment: dict[str, str], s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The proxy through which ``s3://`` goes; its requests tell what was downloaded."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
    return s3_proxy


@pytest.fixture
def transport() -> Iterator[Transport]:
    """A new one of two threads."""
    with Transport(TransportSettings(threads=2)) as transport:
        yield transport
