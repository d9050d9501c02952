"""What is sent first of what waits: what is needed now, then jobs by their priority."""

from __future__ import annotations

import contextvars

import pytest

from forebay.transport import BytesSink, Exchange, Request, TransportSettings
from forebay.transport.traffic import Traffic
from forebay.transport.urgency import at_priority


def exchange(url: str, priority: str | None = None) -> Exchange:
    def make() -> Exchange:
        return Exchange(Request(url), BytesSink(1), lambda exchange: None)

    if priority is None:
        return make()
    with at_priority(priority):
        return make()


def traffic(*waiting: Exchange) -> Traffic:
    made = Traffic(TransportSettings(), max_requests=100, loops=1)
    for one in waiting:
        made.add(one, 0.0)
    return made


def taken(traffic: Traffic) -> list[str]:
    urls = []
    while isinstance(one := traffic.take(0.0, 0), Exchange):
        urls.append(one.request.url)
    return urls


def test_the_most_urgent_first_and_then_in_their_order() -> None:
    order = [("low", 1), ("normal", 2), ("high", 3), (None, 4), ("low", 5), ("high", 6), (None, 7)]
    found = traffic(*(exchange(f"http://host/{number}", priority) for priority, number in order))

    assert [url[-1] for url in taken(found)] == ["4", "7", "3", "6", "2", "1", "5"]


def test_of_all_hosts_too() -> None:
    found = traffic(
        exchange("http://one/1", "low"),
        exchange("http://two/2", "high"),
        exchange("http://one/3", "low"),
        exchange("http://two/4", "normal"),
        exchange("http://one/5", "high"),
    )

    assert [url[-1] for url in taken(found)] == ["5", "2", "4", "1", "3"]


def test_one_that_waits_can_be_withdrawn() -> None:
    first, second, third = (exchange(f"http://host/{n}", "low") for n in range(3))
    found = traffic(first, second, third)

    assert found.withdraw(second)
    assert not found.withdraw(second)
    assert taken(found) == ["http://host/0", "http://host/2"]


def test_drained_is_all() -> None:
    waiting = [exchange("http://host/1", "low"), exchange("http://host/2"), exchange("http://other/3")]
    found = traffic(*waiting)

    assert set(found.drain()) == set(waiting)
    assert not found.is_waiting


def test_an_urgency_ends_with_its_block_and_is_taken_along_into_threads() -> None:
    with at_priority("low"):
        context = contextvars.copy_context()
        assert exchange("http://host/").urgency == 3
    assert exchange("http://host/").urgency == 0
    assert context.run(exchange, "http://host/").urgency == 3


@pytest.mark.parametrize(("name", "urgency"), [("high", 1), ("normal", 2), ("low", 3), ("", 2), ("?", 2)])
def test_an_unknown_priority_is_normal(name: str, urgency: int) -> None:
    assert exchange("http://host/", name).urgency == urgency


def test_what_is_less_urgent_gives_way_to_what_comes_from_the_same_host() -> None:
    low, high, other = (
        exchange("http://one/1", "low"),
        exchange("http://one/2"),
        exchange("http://two/3", "low"),
    )
    found = traffic(low, high, other)
    assert not found.is_mixed
    assert len(taken(found)) == 3

    assert found.is_mixed
    assert [found.gives_way(one) for one in (low, high, other)] == [True, False, False]

    # but not to what takes nothing now
    found.paused(high, True)
    assert not found.gives_way(low)
    found.paused(high, False)
    assert found.gives_way(low)
    found.ended(high, 1.0, received=1, refused=False)
    assert not found.gives_way(low)
    assert not found.is_mixed
