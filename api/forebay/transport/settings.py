"""The settings of a transport, and the limits of one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """When a request that does not end by itself is given up.

    Attributes:
        connect_seconds: until the connection stands, TLS and proxies included.
        idle_seconds: during which nothing at all arrives; the server's time to think counts.
        min_rate: bytes per second, header lines included, that must arrive on average over
            ``min_rate_seconds``. It ends answers that drip a byte now and then, so it is low: many
            requests may share a slow line.
        total_seconds: for the whole exchange, from the moment that it is sent.
    """

    connect_seconds: float = 10.0
    idle_seconds: float = 60.0
    min_rate: int = 50
    min_rate_seconds: float = 60.0
    total_seconds: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How a `Transport` works.

    Attributes:
        threads: event loops, each in a thread of its own.
        max_requests: the most requests in flight, over all threads and hosts.
        first_requests: how many requests a host gets at once before anything is known about it.
        memory_bytes: the most bytes that the sinks of all requests in flight may hold in memory.
        limits: of requests that bring none of their own.
        max_refusal_bytes: how much is kept of the body of an answer that was not accepted.
        max_pause_seconds: the longest that a server's Retry-After is obeyed.
        user_agent: sent with requests that name none.
        rate: gives the bytes of bodies that may come each second now; ``None`` for any number.
        request_limits: requests a second by host; ``*`` in a host stands for any characters.
        shared_rate, shared_request_limits: the same for all processes of a volume together; once they are
            shared, `Transport.grant` says how much of it this process has.
    """

    threads: int = 1
    max_requests: int = 256
    first_requests: int = 32
    memory_bytes: int = 256 << 20
    limits: Limits = field(default_factory=Limits)
    max_refusal_bytes: int = 64 << 10
    max_pause_seconds: float = 60.0
    user_agent: str = "forebay"
    rate: Callable[[], int | None] | None = None
    request_limits: Mapping[str, float] = field(default_factory=dict)
    shared_rate: Callable[[], int | None] | None = None
    shared_request_limits: Mapping[str, float] = field(default_factory=dict)
