"""Groups: whose turn an object is, which records of Redis are servers, and which settings go together."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, TransientSourceError
from forebay.index import Entry
from forebay.index.groups import Server
from forebay.metrics.egress import Egress
from forebay.neighbours.neighbour_source import NeighbourError, NeighbourSource, authorization, md5_of
from forebay.neighbours.turns import turn_of
from forebay.neighbours.ways import Way
from forebay.transport import Head, Route
from forebay.transport.heads import Headers
from forebay.uri import parse

ENTRIES = [f"s3/photos/{number}.jpg" for number in range(3000)]
SERVER = Server("1", "b", "http://10.0.0.7:9500")
URI = parse("s3://photos/x.jpg")


class TestTurns:
    def test_everybody_decides_alike_whatever_the_order(self) -> None:
        assert all(turn_of(one, ["a", "b", "c"]) == turn_of(one, {"c", "a", "b"}) for one in ENTRIES)

    def test_turns_are_spread_evenly(self) -> None:
        counts = Counter(turn_of(one, ["a", "b", "c"]) for one in ENTRIES)
        assert min(counts.values()) > 900

    def test_a_volume_that_goes_leaves_only_its_own_turns(self) -> None:
        before = {one: turn_of(one, ["a", "b", "c"]) for one in ENTRIES}
        after = {one: turn_of(one, ["a", "b"]) for one in ENTRIES}
        assert {before[one] for one in ENTRIES if before[one] != after[one]} == {"c"}
        assert {after[one] for one in ENTRIES if before[one] == "c"} == {"a", "b"}

    def test_without_volumes_it_is_no_turn(self) -> None:
        assert turn_of("s3/photos/x", []) == ""


class TestServers:
    @pytest.mark.parametrize(
        "url",
        ["http://10.0.0.7:9500", "https://node-7.lab:1", "http://127.0.0.1:65535", "http://[fd00::7]:80"],
    )
    def test_a_record_of_a_server(self, url: str) -> None:
        assert Server.parse("1", json.dumps({"volume": "b", "url": url})) == Server("1", "b", url)

    @pytest.mark.parametrize(
        "url",
        [
            "http://10.0.0.7",
            "http://10.0.0.7:0",
            "http://10.0.0.7:65536",
            "http://node:65536",
            "http://10.0.0.7:80/path",
            "http://user@10.0.0.7:80",
            "http://10.0.0.7:80\n",
            "ftp://10.0.0.7:80",
            "http://169.254.169.254:80",
            "http://[fe80::1]:80",
            "http://0.0.0.0:80",
            "http://224.0.0.1:80",
            "http://[::]:80",
            "http://[nonsense]:80",
            "http://2852039166:80",
            "",
            7,
            None,
        ],
    )
    def test_what_is_no_address_of_a_server_is_none(self, url: object) -> None:
        assert Server.parse("1", json.dumps({"volume": "b", "url": url})) is None

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "http://a:1"}', '{"volume": "b"}'])
    def test_nor_is_another_record(self, text: str) -> None:
        assert Server.parse("1", text) is None

    @pytest.mark.parametrize("volume", ["", "a/b", "../b", "b c", 7, "b" * 64])
    def test_nor_one_of_what_is_no_volume(self, volume: object) -> None:
        assert Server.parse("1", json.dumps({"volume": volume, "url": SERVER.url})) is None


class TestSource:
    source = NeighbourSource(SERVER, "s3/photos/ü x.jpg", Entry(7, '"e"'), lambda: "secret", Route())

    def test_it_asks_for_the_entry_by_its_name(self) -> None:
        request = self.source.request(URI, span=(2, 5), etag='"e"')
        assert request.url == "http://10.0.0.7:9500/v1/objects/b/s3%2Fphotos%2F%C3%BC%20x.jpg"
        assert dict(request.headers) == {
            "Range": "bytes=2-4",
            "If-Match": '"e"',
            "Authorization": "Bearer secret",
        }

    def test_a_slow_answer_counts_unless_this_process_is_slow_itself(self) -> None:
        slow = NeighbourSource(SERVER, "s3/x", Entry(7), lambda: "", Route(), is_throttled=True)
        limits = [source.request(URI).limits for source in (self.source, slow)]
        assert [one.min_rate for one in limits if one is not None] == [16 << 10, 0]

    def test_it_takes_only_what_the_index_says(self) -> None:
        def head(size: int, etag: str) -> Head:
            return Head(200, Headers([f"Content-Length: {size}\r\n".encode(), f"ETag: {etag}\r\n".encode()]))

        assert self.source.describe(URI, head(7, '"e"')).size == 7
        for wrong in (head(8, '"e"'), head(7, '"f"')):
            with pytest.raises(NeighbourError):
                self.source.describe(URI, wrong)

    def test_an_etag_is_an_md5_where_its_store_has_such(self) -> None:
        assert md5_of(URI, '"' + "0a" * 16 + '"') == "0a" * 16
        assert md5_of(URI, '"' + "0a" * 16 + '-2"') is None
        assert md5_of(parse("https://host/x"), '"' + "0a" * 16 + '"') is None

    def test_the_secret_is_a_header(self) -> None:
        assert authorization("x") == ("Authorization", "Bearer x")


class TestWays:
    def test_what_a_neighbour_fails_at_is_had_another_way(self) -> None:
        told: list[Any] = []
        way = Way(lambda server, error: told.append(server), True, SERVER, Entry(7))
        assert way.origin == "neighbour"

        assert way.is_over(TransientSourceError("s3://photos/x", "it ended early"))

        assert (way.origin, way.is_chosen, way.shunned, told) == ("cloud", False, {"b"}, [SERVER])
        # From the cloud, an error is one like any other.
        assert not way.is_over(TransientSourceError("s3://photos/x", "it ended early"))

    def test_a_full_cache_is_not_its_fault(self) -> None:
        way = Way(is_chosen=True, server=SERVER)
        assert not way.is_over(TransientSourceError("s3://photos/x", "no room", "cache_full"))
        assert not way.is_over(OSError(28, "No space left on device"))


class TestSettings:
    def test_a_group_needs_a_redis_that_is_shared(self) -> None:
        with pytest.raises(ConfigError, match="group='lab' needs redis_url: the volumes of a group find"):
            MediaCacheConfig(group="lab")
        with pytest.raises(ConfigError, match="group='lab' needs a Redis that has all its"):
            MediaCacheConfig(group="lab", redis_url="redis+cluster://host")
        assert MediaCacheConfig(group="lab", redis_url="redis://host").group == "lab"

    def test_a_key_is_that_of_a_certificate(self) -> None:
        with pytest.raises(ConfigError, match="group_tls_key is of no use without group_tls_cert"):
            MediaCacheConfig(group_tls_key="/key.pem")

    @pytest.mark.parametrize("address", ["10.0.0.7", "node7:9500", "[fd00::7]", "[fd00::7]:9500"])
    def test_addresses(self, address: str) -> None:
        assert MediaCacheConfig(group_address=address).group_address == address

    @pytest.mark.parametrize(
        ("address", "allowed"),
        [
            ("", "must be HOST or HOST:PORT"),
            ("host:99999", "must be HOST or HOST:PORT"),
            ("http://host", "must be HOST or HOST:PORT"),
            ("0.0.0.0", "must be an address that the others can connect to"),
            ("[::]:80", "must be an address that the others can connect to"),
        ],
    )
    def test_what_is_no_address(self, address: str, allowed: str) -> None:
        with pytest.raises(ConfigError, match=allowed):
            MediaCacheConfig(group_address=address)

    def test_a_group_has_the_name_of_a_volume(self) -> None:
        with pytest.raises(ConfigError, match="must begin with a letter or digit"):
            MediaCacheConfig(group="a b", redis_url="redis://host")

    def test_a_price_is_a_number(self) -> None:
        assert MediaCacheConfig(egress_price_per_gb="0.09").egress_price_per_gb == 0.09
        with pytest.raises(ConfigError, match="greater than or equal to 0"):
            MediaCacheConfig(egress_price_per_gb=-1)


class TestEgress:
    def test_bytes_are_counted_by_where_they_came_from(self) -> None:
        counts = {
            "s3://photos": {"fetched|cloud": 5.0, "fetched|neighbour": 2e9},
            "gs://films": {"fetched|cloud": 7.0, "objects|downloaded": 1.0},
            "": {"hit_bytes": 1e9, "served_bytes": 11.0},
        }
        egress = Egress.of(counts)
        assert egress.fetched == {"cloud": 12.0, "neighbour": 2e9}
        assert (egress.from_cache, egress.sent, egress.saved) == (1e9, 11.0, 3e9)
        assert egress.saved_cost(0.09) == pytest.approx(0.27)
        assert egress.saved_cost(None) is None

    def test_nothing_was_counted_yet(self) -> None:
        assert Egress.of({}) == Egress({"cloud": 0.0})
