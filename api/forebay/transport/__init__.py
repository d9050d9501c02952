"""The HTTP engine: requests in flight, ranges, TLS, proxies, guards.

It knows URLs, headers and bytes, and nothing of what they mean to a bucket or a cache. `Transport` sends
`Request`s along a `Route`; a `Sink` takes what arrives; an `Outcome` says how it ended.
"""

from forebay.transport.bounds import BYTES
from forebay.transport.exchange import Exchange
from forebay.transport.heads import Head, Headers
from forebay.transport.requests import GOOD, Outcome, Request, Response, Route
from forebay.transport.settings import Limits, TransportSettings
from forebay.transport.signing import Credentials
from forebay.transport.sinks import FULL, BytesSink, FileSink, PathSink, Sink
from forebay.transport.throttle import Use
from forebay.transport.transport import Transport
from forebay.transport.transport_errors import Kind, TransportError

__all__ = [
    "BYTES",
    "FULL",
    "GOOD",
    "BytesSink",
    "Credentials",
    "Exchange",
    "FileSink",
    "Head",
    "Headers",
    "Kind",
    "Limits",
    "Outcome",
    "PathSink",
    "Request",
    "Response",
    "Route",
    "Sink",
    "Transport",
    "TransportError",
    "TransportSettings",
    "Use",
]
