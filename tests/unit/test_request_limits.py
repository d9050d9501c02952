"""How many requests of each second a host gets: the setting, and the pace."""

from __future__ import annotations

import json
from typing import Any

import pytest

from forebay.cli.service_commands import _divide_bandwidth
from forebay.cli.shared_options import State
from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError
from forebay.jobs import helpers
from forebay.jobs.helpers import Helpers
from forebay.transport import BytesSink, Exchange, Request, TransportSettings
from forebay.transport.bounds import Bounds, rate_of
from forebay.transport.traffic import Traffic


def traffic(limits: dict[str, float], *urls: str) -> Traffic:
    return traffic_within(Bounds(TransportSettings(request_limits=limits)), *urls)


def traffic_within(bounds: Bounds, *urls: str) -> Traffic:
    made = Traffic(TransportSettings(), max_requests=1000, loops=1, bounds=bounds)
    for url in urls:
        made.add(Exchange(Request(url), BytesSink(1), lambda exchange: None), 0.0)
    return made


def sent(traffic: Traffic, until: float) -> list[tuple[float, str]]:
    """When which request is sent, by a loop that asks again when it is told to."""
    now, found = 0.0, []
    while now <= until:
        one = traffic.take(now, 0)
        if isinstance(one, Exchange):
            found.append((now, one.request.url))
            traffic.ended(one, now, received=1, refused=False)
        else:
            now = one
    return found


def test_no_host_gets_more_than_it_may() -> None:
    found = sent(traffic({"slow": 10}, *["http://slow/"] * 100), 5.0)

    assert 50 <= len(found) <= 52
    assert [moment for moment, _ in found[:3]] == pytest.approx([0.0, 0.1, 0.2], abs=0.051)


def test_others_do_not_wait_for_it() -> None:
    urls = [*["http://slow/"] * 20, *["http://fast/"] * 20]

    found = sent(traffic({"slow": 0.1}, *urls), 5.0)

    assert [url for _, url in found].count("http://fast/") == 20
    assert [url for _, url in found].count("http://slow/") == 1


def test_what_was_not_used_is_not_made_up_for() -> None:
    made = traffic({"slow": 10}, *["http://slow/"] * 2)
    for moment in (0.0, 100.0):
        assert isinstance(made.take(moment, 0), Exchange)
    for _ in range(5):
        made.add(Exchange(Request("http://slow/"), BytesSink(1), lambda exchange: None), 100.0)

    assert isinstance(made.take(100.06, 0), Exchange)
    assert not isinstance(made.take(100.1, 0), Exchange)


def test_a_part_is_for_other_processes() -> None:
    made = traffic({"slow": 10}, *["http://slow/"] * 100)
    made.divide(5)

    assert 10 <= len(sent(made, 5.0)) <= 12


def test_a_host_that_is_asked_later_has_its_part_too() -> None:
    made = traffic({"slow": 10})
    made.divide(5)
    for _ in range(100):
        made.add(Exchange(Request("http://slow/"), BytesSink(1), lambda exchange: None), 0.0)

    assert 10 <= len(sent(made, 5.0)) <= 12


class TestShared:
    """The limits of a volume, of which each process has what it is granted."""

    @pytest.fixture
    def bounds(self) -> Bounds:
        return Bounds(
            TransportSettings(
                request_limits={"slow": 10},
                shared_request_limits={"s*": 100},
            )
        )

    def test_before_anything_is_shared_only_the_own_limit_holds(self, bounds: Bounds) -> None:
        made = traffic_within(bounds, *["http://slow/"] * 100, *["http://shared/"] * 100)

        assert 110 <= len(sent(made, 1.0)) <= 112

    def test_a_host_gets_nothing_until_something_is_granted(self, bounds: Bounds) -> None:
        bounds.share(0.0)
        made = traffic_within(bounds, "http://shared/", "http://other/")

        assert [url for _, url in sent(made, 1.0)] == ["http://other/"]
        assert bounds.wanted.is_set()
        assert bounds.use("http://shared") == (0, True)

    def test_what_was_asked_before_waits_too(self) -> None:
        bounds = Bounds(TransportSettings(shared_request_limits={"*": 100}, shared_rate=lambda: 1000))
        made = traffic_within(bounds, "http://shared/")
        bounds.share(0.0)

        assert sent(made, 1.0) == []
        bounds.grant("http://shared", 10, 1.0)
        assert sent(made, 1.0) == []
        bounds.grant("bytes", 1000, 1.0)
        assert len(sent(made, 3.0)) == 1

    def test_a_host_gets_what_is_granted(self, bounds: Bounds) -> None:
        made = traffic_within(bounds, *["http://shared/"] * 100)
        bounds.share(0.0)
        bounds.grant("http://shared", 20, 0.0)

        assert 100 <= len(sent(made, 5.0)) <= 102
        assert bounds.use("http://shared").taken >= 100

    def test_the_lower_limit_holds(self, bounds: Bounds) -> None:
        made = traffic_within(bounds, *["http://slow/"] * 100)
        bounds.share(0.0)
        bounds.grant("http://slow", 20, 0.0)

        assert 50 <= len(sent(made, 5.0)) <= 52

    def test_what_is_shared_is_what_was_asked(self, bounds: Bounds) -> None:
        traffic_within(bounds, "http://shared/", "http://other/", "https://shared/")

        assert bounds.shared() == ["http://shared", "https://shared"]
        assert bounds.limit("http://shared") == 100

    def test_hosts_that_are_forgotten_are_not_shared(self, bounds: Bounds) -> None:
        traffic_within(bounds, "http://shared/")

        bounds.forget("http://shared")

        assert bounds.shared() == []
        assert bounds.use("http://shared") == (0, False)


@pytest.mark.parametrize(
    ("pattern", "origin", "matches"),
    [
        ("data.example.com", "https://data.example.com", True),
        ("data.example.com", "https://data.example.com:8443", True),
        ("data.example.com:443", "https://data.example.com:8443", False),
        ("data.example.com:8443", "https://data.example.com:8443", True),
        ("*.example.com", "https://a.b.example.com", True),
        ("*.example.com", "https://example.com", False),
        ("DATA.example.com", "https://data.Example.com", True),
        ("data.example.com", "https://dataXexample.com", False),
        ("*", "http://[::1]:8000", True),
        ("[::1]", "http://[::1]:8000", True),
    ],
)
def test_patterns(pattern: str, origin: str, matches: bool) -> None:
    assert (rate_of(origin, {pattern: 1.0}) is not None) is matches


def test_the_first_pattern_counts() -> None:
    urls = ["http://a.example.com/"] * 100

    assert len(sent(traffic({"a.*": 1, "*": 100}, *urls), 0.9)) == 1


@pytest.mark.parametrize("name", ["request_limits", "volume_request_limits"])
def test_the_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"FIFTYONE_MEDIA_CACHE_{name.upper()}", '{"*.example.com": 50}')

    assert getattr(MediaCacheConfig(), name) == {"*.example.com": 50.0}


@pytest.mark.parametrize(
    "value",
    [
        *({host: 1} for host in ("https://host", "", "a b", 1)),
        *({"host": rate} for rate in (0, -1, "1", True, None, float("nan"), float("inf"))),
        ["host"],
    ],
)
def test_a_bad_value_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        MediaCacheConfig(request_limits=value)
    assert raised.value.setting == "request_limits"


def test_helpers_and_workers_of_a_supervisor_have_their_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[MediaCacheConfig] = []
    monkeypatch.setattr(helpers, "HelperProcess", lambda part, example: parts.append(part))
    config, state = MediaCacheConfig(request_limits={"host": 100}), State()

    Helpers(config, 4)
    _divide_bandwidth(state, config, 4)

    assert [one.request_limits for one in parts] == [{"host": 25.0}] * 3
    assert json.loads(state.environment()["FIFTYONE_MEDIA_CACHE_REQUEST_LIMITS"]) == {"host": 25.0}
