"""How many requests a host gets: against simulated hosts, on a clock that only the test moves."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque

import pytest

from forebay.transport import BytesSink, Exchange, Request, TransportSettings
from forebay.transport.bounds import Bounds
from forebay.transport.host_window import Window
from forebay.transport.traffic import Traffic


class Host:
    """Answers after ``latency`` seconds, ``rate`` a second at most, and refuses above ``quota``."""

    def __init__(self, *, latency: float = 0.03, rate: float = 1e9, quota: float | None = None) -> None:
        self.latency, self.rate, self.quota = latency, rate, quota
        self._free_at = 0.0
        self._recent: deque[float] = deque()

    def answer(self, now: float) -> tuple[float, bool]:
        """When a request that arrives now is answered, and whether it is refused."""
        while self._recent and self._recent[0] <= now - 0.1:
            self._recent.popleft()
        if self.quota is not None and len(self._recent) >= self.quota / 10:
            return now + self.latency, True
        self._recent.append(now)
        self._free_at = max(self._free_at, now) + 1.0 / self.rate
        return max(self._free_at, now + self.latency), False


class Client:
    """Asks a host as often as its window allows."""

    def __init__(self, host: Host, *, first: int = 32, most: int = 256) -> None:
        self.host, self.window = host, Window(0.0, first=first, max_size=most)
        self.in_flight = self.good = self.bad = 0

    def run(self, clock: float, until: float) -> float:
        return run([self], clock, until)


def run(clients: list[Client], clock: float, until: float) -> float:
    """Lets clients ask from one time to another."""
    events: list[tuple[float, float, int, bool, float]] = []
    order = random.Random(1)
    for client in clients:
        client.in_flight = 0
    while clock < until:
        for client in order.sample(clients, len(clients)):
            while client.window.allows(clock, client.in_flight):
                client.window.started(clock)
                client.in_flight += 1
                end, refused = client.host.answer(clock)
                heapq.heappush(events, (end, order.random(), clients.index(client), refused, clock))
        times = [events[0][0]] if events else []
        for client in clients:
            wakeup = client.window.wakeup(clock, client.in_flight)
            times.append(max(wakeup, clock + 1e-4))
        clock = max(clock, min(times, default=until))
        while events and events[0][0] <= clock:
            _, _, number, refused, began = heapq.heappop(events)
            client = clients[number]
            client.in_flight -= 1
            if refused:
                client.bad += 1
                client.window.refused(clock, began)
            else:
                client.good += 1
                client.window.served(clock, 100_000)
    return clock


def test_it_grows_while_throughput_grows():
    client = Client(Host(latency=0.03))

    client.run(0.0, 1.0)

    assert client.window.size == 256


def test_it_does_not_grow_where_that_is_of_no_use():
    client = Client(Host(latency=0.0005, rate=2000))

    client.run(0.0, 1.9)

    assert client.window.size <= 64


def test_it_does_not_stay_grown_where_that_is_of_no_use():
    client = Client(Host(latency=0.0005, rate=2000))

    client.run(0.0, 30.0)

    assert client.window.size <= 128


@pytest.mark.parametrize("latency", [0.001, 0.03, 0.2])
def test_a_host_that_allows_200_a_second_gives_nearly_200(latency: float):
    client = Client(Host(latency=latency, quota=200))

    client.run(0.0, 30.0)

    assert client.good >= 0.9 * 200 * 30
    assert client.bad <= 0.1 * client.good


def test_once_the_limit_is_lifted_the_rate_grows_again():
    client = Client(Host(latency=0.001, quota=200))
    clock = client.run(0.0, 10.0)

    client.host.quota = None
    clock = client.run(clock, 25.0)
    client.good = 0
    client.run(clock, 26.0)

    assert client.good >= 2000


def test_eight_clients_share_a_limited_host():
    host = Host(latency=0.001, quota=400)
    clients = [Client(host) for _ in range(8)]

    run(clients, 0.0, 40.0)

    assert sum(client.good for client in clients) >= 0.9 * 400 * 40
    assert min(client.good for client in clients) >= 0.3 * 400 * 40 / 8


def test_retry_after_is_obeyed():
    window = Window(0.0, first=32, max_size=256)

    window.refused(1.0, 0.5, retry_after=5.0)

    assert not window.allows(5.9, 0)
    assert window.wakeup(1.0, 0) == pytest.approx(6.0, abs=2.1)
    assert window.allows(window.wakeup(1.0, 0), 0)


def test_one_burst_of_refusals_halves_it_once():
    window = Window(0.0, first=32, max_size=256)

    for _ in range(32):
        window.refused(1.0, 0.5)
    window.timed_out(1.1, 0.9)

    assert window.size == 16
    window.timed_out(1.2, 1.1)
    assert window.size == 8


def test_it_never_closes():
    window = Window(0.0, first=32, max_size=256)

    for second in range(100):
        window.refused(float(second + 1), second + 0.5)

    assert window.allows(window.wakeup(200.0, 0), 0)


def test_a_pace_that_binds_no_longer_is_given_up_with_the_request_that_shows_it():
    # Given a host that refused a request
    window = Window(0.0, first=4, max_size=4)
    window.started(1.0)
    window.refused(1.2, 1.0)
    assert window.pace is not None

    # When it has been asked nothing for long
    window.started(60.0)

    # Then it may be asked at any rate
    assert window.pace is None
    assert window.allows(60.0, 0)


def test_a_pace_is_kept_between_two_requests():
    window = Window(0.0, first=4, max_size=4)
    window.started(1.0)
    window.refused(1.2, 1.0)

    now = window.wakeup(1.2, 0)
    window.started(now)

    assert not window.allows(now, 1)
    assert window.wakeup(now, 1) > now


class TestRounds:
    """A round: as many answers as the window is large."""

    def window(self) -> Window:
        """One that has grown from 4 to 8."""
        window = Window(0.0, first=4, max_size=64)
        self.round(window, 0.0, 4)
        assert window.size == 8
        return window

    def round(self, window: Window, began: float, answers: int) -> None:
        """Answers that come within 0.1 s while more requests would be sent."""
        window.allows(began, int(window.size))
        for number in range(answers):
            window.served(began + 0.1 * (number + 1) / answers, 0)

    def test_one_slow_round_does_not_end_its_growth(self):
        window = self.window()

        self.round(window, 0.1, 8)
        size = window.size
        window.allows(0.2, int(size))
        for _ in range(int(size)):
            window.served(9.0, 0)
        self.round(window, 9.0, 64)

        assert window.size > size

    def test_two_that_are_no_faster_end_it_for_a_while(self):
        window = self.window()

        for number in range(2):
            window.allows(0.2 * (number + 1), 8)
            for _ in range(8):
                window.served(0.2 * (number + 2), 0)
        assert window.size == 4

        self.round(window, 0.7, 4)
        assert window.size == 4
        self.round(window, 2.0, 4)
        assert window.size == 8


def exchange(url: str, holds: int = 0) -> Exchange:
    return Exchange(Request(url), BytesSink(holds), lambda exchange: None)


class TestTraffic:
    def settings(self, **values: int) -> TransportSettings:
        return TransportSettings(**values)

    def taken(self, traffic: Traffic, loop_in_flight: int = 0) -> list[str]:
        found = []
        while isinstance(one := traffic.take(0.0, loop_in_flight + len(found)), Exchange):
            found.append(one.request.url)
        return found

    def test_hosts_take_turns(self):
        traffic = Traffic(self.settings(), max_requests=4, loops=1)
        for number in range(3):
            traffic.add(exchange(f"http://a/{number}"), 0.0)
        traffic.add(exchange("http://b/0"), 0.0)

        assert self.taken(traffic) == ["http://a/0", "http://b/0", "http://a/1", "http://a/2"]

    def test_nothing_is_sent_while_nothing_may_come(self):
        bounds = Bounds(TransportSettings(rate=lambda: 1000))
        throttle = bounds.bytes
        assert throttle is not None
        traffic = Traffic(self.settings(), max_requests=4, loops=1, bounds=bounds)
        traffic.add(exchange("http://a/0"), 0.0)
        assert throttle.wait(0.0) == 0.0
        throttle.took(500, 0.0)

        assert 0.0 < traffic.take(0.0, 0) < 1.0  # type: ignore[operator]
        assert isinstance(traffic.take(1.0, 0), Exchange)

    def test_other_processes_have_their_part_of_what_may_come(self):
        bounds = Bounds(TransportSettings(rate=lambda: 1000))
        throttle = bounds.bytes
        assert throttle is not None
        Traffic(self.settings(), max_requests=4, loops=1, bounds=bounds).divide(4)
        assert throttle.wait(0.0) == 0.0

        # what is a quarter of a second for one is a second for four
        throttle.took(250, 0.0)

        assert throttle.wait(0.5) > 0.0

    def test_a_host_gets_no_more_than_its_window(self):
        traffic = Traffic(self.settings(first_requests=2), max_requests=256, loops=1)
        for number in range(5):
            traffic.add(exchange(f"http://a/{number}"), 0.0)

        assert len(self.taken(traffic)) == 2

    def test_all_get_no_more_than_the_bound(self):
        traffic = Traffic(self.settings(), max_requests=3, loops=1)
        for number in range(5):
            traffic.add(exchange(f"http://{number}/"), 0.0)

        assert len(self.taken(traffic)) == 3

    def test_memory_is_bounded(self):
        traffic = Traffic(self.settings(memory_bytes=3 << 20), max_requests=256, loops=1)
        for number in range(5):
            traffic.add(exchange(f"http://a/{number}", 1 << 20), 0.0)

        assert len(self.taken(traffic)) == 2

    def test_one_alone_may_exceed_it(self):
        traffic = Traffic(self.settings(memory_bytes=1), max_requests=256, loops=1)
        traffic.add(exchange("http://a/", 1 << 30), 0.0)

        assert len(self.taken(traffic)) == 1

    @pytest.mark.parametrize(("parts", "expected"), [(1, 8), (4, 2), (100, 1)])
    def test_the_other_parts_of_the_bound_are_left_to_other_processes(self, parts: int, expected: int):
        traffic = Traffic(self.settings(), max_requests=8, loops=1)
        traffic.divide(parts)
        for number in range(20):
            traffic.add(exchange(f"http://{number}/"), 0.0)

        assert len(self.taken(traffic)) == expected

    def test_so_are_those_of_the_memory(self):
        traffic = Traffic(self.settings(memory_bytes=6 << 20), max_requests=256, loops=1)
        traffic.divide(2)
        for number in range(8):
            traffic.add(exchange(f"http://a/{number}", 1 << 20), 0.0)

        assert len(self.taken(traffic)) == 2

    def test_loops_share(self):
        traffic = Traffic(self.settings(), max_requests=256, loops=2)
        for number in range(100):
            traffic.add(exchange(f"http://a/{number}"), 0.0)

        assert (len(self.taken(traffic)), len(self.taken(traffic))) == (16, 16)

    def test_each_loop_is_told_when_a_paced_host_may_be_asked_again(self):
        # given a host that has asked to be left alone for 5 s
        traffic = Traffic(self.settings(), max_requests=256, loops=2)
        traffic.add(exchange("http://a/0"), 1.0)
        first = traffic.take(1.0, 0)
        assert isinstance(first, Exchange)
        traffic.ended(first, 1.1, received=0, refused=True, retry_after=5.0)
        traffic.add(exchange("http://a/1"), 2.0)

        # when one loop asks after another
        told = [traffic.take(2.0, 0), traffic.take(2.0, 0)]

        # then both know when
        assert told[0] == told[1]
        assert isinstance(told[0], float)
        assert 6.1 <= told[0] < 7.0
        assert isinstance(traffic.take(told[0], 0), Exchange)
        assert traffic.take(told[0], 0) == math.inf

    def test_the_hosts_that_were_asked_last_are_remembered(self):
        # given the host that was asked first of a thousand, and is asked again
        traffic = Traffic(self.settings(), max_requests=2000, loops=1)
        for number in range(1000):
            self.ask(traffic, f"http://{number}/")
        self.ask(traffic, "http://0/")

        # when one more comes, for which the hosts that were asked longest ago are forgotten
        self.ask(traffic, "http://new/")

        # then it is not among these
        assert traffic.window_of("http://0") is not None
        assert traffic.window_of("http://1") is None

    def ask(self, traffic: Traffic, url: str) -> None:
        traffic.add(exchange(url), 0.0)
        taken = traffic.take(0.0, 0)
        assert isinstance(taken, Exchange)
        traffic.ended(taken, 0.0, received=0, refused=False)

    def test_what_waits_can_be_withdrawn(self):
        traffic = Traffic(self.settings(), max_requests=256, loops=1)
        first, second = exchange("http://a/0"), exchange("http://a/1")
        traffic.add(first, 0.0)
        traffic.add(second, 0.0)

        assert traffic.withdraw(first)
        assert not traffic.withdraw(first)
        assert traffic.drain() == [second]
        assert not traffic.is_waiting

    def test_another_hosts_request_is_not_withdrawn(self):
        traffic = Traffic(self.settings(), max_requests=256, loops=1)
        traffic.add(exchange("http://a/0"), 0.0)

        assert not traffic.withdraw(exchange("http://a/0"))
        assert not traffic.withdraw(exchange("http://b/0"))
        assert traffic.is_waiting

    def test_the_last_one_withdrawn_leaves_nothing_to_take(self):
        traffic = Traffic(self.settings(), max_requests=256, loops=1)
        only = exchange("http://a/0")
        traffic.add(only, 0.0)

        assert traffic.withdraw(only)

        assert traffic.take(0.0, 0) == math.inf
        assert not traffic.is_waiting

    def test_what_was_drained_is_not_taken(self):
        traffic = Traffic(self.settings(), max_requests=256, loops=1)
        traffic.add(exchange("http://a/0"), 0.0)

        traffic.drain()
        traffic.add(exchange("http://a/1"), 0.0)

        assert self.taken(traffic) == ["http://a/1"]

    @pytest.mark.parametrize(
        ("ending", "size"),
        [
            ({"refused": True}, 16),
            ({"refused": False, "unreachable": True}, 16),
            ({"refused": False}, 32),
            ({"refused": False, "answered": False}, 32),
        ],
    )
    def test_a_hosts_window_learns_how_a_request_ended(self, ending: dict[str, bool], size: int):
        traffic = Traffic(self.settings(), max_requests=256, loops=1)
        traffic.add(exchange("http://a/0"), 1.0)
        taken = traffic.take(1.0, 0)
        assert isinstance(taken, Exchange)

        traffic.ended(taken, 1.1, received=0, **ending)

        window = traffic.window_of(taken.origin)
        assert window is not None
        assert window.size == size
        assert traffic.in_flight == 0

    @pytest.mark.parametrize(("answered", "size"), [(True, 2), (False, 1)])
    def test_only_answers_let_a_window_grow(self, answered: bool, size: int):
        traffic = Traffic(self.settings(first_requests=1), max_requests=256, loops=1)
        traffic.add(exchange("http://a/0"), 1.0)
        traffic.add(exchange("http://a/1"), 1.0)
        (taken, none) = (traffic.take(1.0, 0), traffic.take(1.0, 1))
        assert isinstance(taken, Exchange)
        assert none == math.inf

        traffic.ended(taken, 1.1, received=0, refused=False, answered=answered)

        window = traffic.window_of(taken.origin)
        assert window is not None
        assert window.size == size
