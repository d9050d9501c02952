"""What is less urgent waits while something more urgent comes from the same host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from forebay.transport import BytesSink, Exchange, Request, Transport, TransportSettings
from forebay.transport.urgency import at_priority
from tests.servers.embedded import eventually
from tests.servers.scripted import Answer, scripted

BODY = b"x" * 50_000


@dataclass
class Host:
    """A server whose answer to ``urgent`` ends when the test says so.

    Attributes:
        is_asked: whether ``urgent`` has been asked for.
        has_sent: whether the answer to ``low`` has been sent.
        may_end: lets the answer to ``urgent`` end.
    """

    url: str = ""
    is_asked: threading.Event = field(default_factory=threading.Event)
    has_sent: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: Answer) -> None:
        request.begin(200, len(BODY))
        if request.path == "/urgent":
            self.is_asked.set()
            self.may_end.wait(60)
        request.wfile.write(BODY)
        if request.path == "/low":
            self.has_sent.set()


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()

    def answer(request: Answer) -> None:
        made.answer(request)

    with scripted(answer) as made.url:
        yield made
        made.may_end.set()


def held_up(transport: Transport, host: Host, sink: BytesSink) -> list[Exchange]:
    """Has ``low`` wait for ``urgent``; gives the list of what has ended."""
    ended: list[Exchange] = []
    transport.submit(Request(f"{host.url}urgent"), BytesSink(1 << 20), ended.append)
    assert host.is_asked.wait(30)
    with at_priority("low"):
        transport.submit(Request(f"{host.url}low"), sink, ended.append)
    assert host.has_sent.wait(30)
    # The event loop has turned often enough to have taken it.
    for _ in range(3):
        assert transport.call(Request(f"{host.url}more")).body == BODY
    assert ended == []
    return ended


def test_it_comes_afterwards_and_whole(host: Host) -> None:
    sink = BytesSink(1 << 20)
    with Transport(TransportSettings(threads=1)) as transport:
        ended = held_up(transport, host, sink)

        host.may_end.set()

        eventually(lambda: len(ended) == 2)
    assert [exchange.request.url.rpartition("/")[2] for exchange in ended] == ["urgent", "low"]
    assert sink.data == BODY


def test_a_sink_that_refuses_what_has_waited_ends_its_exchange_only(host: Host) -> None:
    class Refusing(BytesSink):
        def write(self, chunk: bytes) -> None:
            raise ValueError("not this")

    with Transport(TransportSettings(threads=1)) as transport:
        ended = held_up(transport, host, Refusing(1 << 20))

        host.may_end.set()

        eventually(lambda: len(ended) == 2)
        assert isinstance(ended[1].outcome and ended[1].outcome.error, ValueError)
        assert transport.call(Request(f"{host.url}more")).body == BODY
