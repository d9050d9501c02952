"""The walk from page to page: against functions that answer, and against a server that does."""

from __future__ import annotations

import bisect
import itertools
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest

from forebay.errors import SourceError, TransientSourceError
from forebay.sources.base import ObjectInfo
from forebay.sources.listings import Page, PageQuery, Start, walk
from forebay.sources.listings.page_requests import holds_any, list_in_order, read_page
from forebay.sources.listings.s3_pages import parse_page, query_string
from forebay.transport import Outcome, Request, Transport
from forebay.uri import parse


@dataclass
class Known:
    """A page that is known."""

    keys: Sequence[str] = ()
    folders: Sequence[str] = ()
    token: str = ""

    def objects(self, root: str) -> list[ObjectInfo]:
        return [ObjectInfo(root + key) for key in self.keys]


@dataclass
class Bucket:
    """Answers for a bucket, in pages of ``size`` keys; the order of keys is ``sorted_by``'s."""

    keys: Sequence[str]
    size: int = 1000
    sorted_by: Callable[[str], object] = str.encode
    asked: list[PageQuery] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    pause: float = 0.0

    def __post_init__(self) -> None:
        self.keys = sorted(self.keys, key=self.sorted_by)  # type: ignore[arg-type]
        self._lock = threading.Lock()

    def ask(self, query: PageQuery) -> Page:
        with self._lock:
            self.asked.append(query)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        time.sleep(self.pause)
        with self._lock:
            self.in_flight -= 1
        found: dict[str, bool] = {}
        for key in self.keys:
            if key.startswith(query.prefix):
                head, slash, _ = key[len(query.prefix) :].partition(query.delimiter or "\0")
                found.setdefault(query.prefix + head + slash, bool(slash))
        names = list(found)
        start = int(query.token or 0)
        end = start + self.size
        page = names[start:end]
        return Known(
            [name for name in page if not found[name]],
            [name for name in page if found[name]],
            str(end) if end < len(names) else "",
        )


def listed(*starts: Start, in_flight: int = 8) -> list[str]:
    return [key for _, page in walk(starts, in_flight=in_flight) for key in page.keys]


FLAT = [f"train/{number:05d}.jpg" for number in range(4321)]
TREE = [f"{top}/{sub}/{n:04d}" for top in "ab" for sub in "xyz" for n in range(1500)]


def test_a_flat_listing_comes_in_order() -> None:
    bucket = Bucket(FLAT)
    assert listed(Start("s3://b/", bucket.ask, PageQuery(""))) == FLAT
    assert [query.token for query in bucket.asked] == ["", "1000", "2000", "3000", "4000"]


def test_the_next_page_is_asked_for_while_this_one_is_used() -> None:
    bucket = Bucket(FLAT)
    pages = walk([Start("s3://b/", bucket.ask, PageQuery(""))])
    next(pages)
    deadline = time.monotonic() + 5
    while len(bucket.asked) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(bucket.asked) >= 3


def test_no_more_pages_are_kept_than_agreed() -> None:
    bucket = Bucket([f"{number:06d}" for number in range(5000)], size=10)
    pages = walk([Start("s3://b/", bucket.ask, PageQuery(""))], in_flight=2)
    next(pages)
    time.sleep(0.3)
    assert len(bucket.asked) <= 1 + 2 + 2
    pages.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    asked = len(bucket.asked)
    time.sleep(0.1)
    assert len(bucket.asked) == asked


@pytest.mark.parametrize(
    "sorted_by", [str.encode, lambda key: key[::-1], lambda key: random.Random(key).random()]
)
def test_folders_are_listed_at_the_same_time_whatever_the_order(sorted_by: Callable[[str], object]) -> None:
    keys = [*TREE, "a-b", "a", "c.jpg", "b//", "b//x"]
    bucket = Bucket(keys, sorted_by=sorted_by, pause=0.01)
    found = listed(Start("s3://b/", bucket.ask, PageQuery(""), by_folder=True), in_flight=4)
    assert sorted(found) == sorted(keys)
    assert 1 < bucket.most_in_flight <= 4
    parts: dict[str, list[str]] = {}
    for key in found:
        parts.setdefault(key.rpartition("/")[0], []).append(key)
    assert all(part == sorted(part, key=sorted_by) for part in parts.values())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "keys",
    [
        [f"{number:05d}/only.jpg" for number in range(3000)],
        [*(f"a/{number:05d}" for number in range(3000)), *(f"b{n}/x" for n in range(500))],
        FLAT,
        [*FLAT, "x"],
    ],
    ids=["a folder for each key", "many folders later", "one folder", "one folder and a key"],
)
def test_folders_that_are_not_worth_it_cost_little(keys: list[str]) -> None:
    flat, taken_apart = Bucket(keys), Bucket(keys)
    assert listed(Start("s3://b/", flat.ask, PageQuery(""))) == sorted(keys)
    assert sorted(listed(Start("s3://b/", taken_apart.ask, PageQuery(""), by_folder=True))) == sorted(keys)
    assert len(taken_apart.asked) <= len(flat.asked) + 3


def test_several_listings_at_once_are_told_apart() -> None:
    buckets = [Bucket([f"{b}-{n:04d}" for n in range(100 * b)], size=50, pause=0.001) for b in range(12)]
    found: dict[int, list[str]] = {}
    for number, page in walk(
        [Start("s3://b/", bucket.ask, PageQuery("")) for bucket in buckets], in_flight=3
    ):
        found.setdefault(number, []).extend(page.keys)
    assert found == {number: list(bucket.keys) for number, bucket in enumerate(buckets)}


def test_nothing_to_list() -> None:
    assert listed() == []
    assert listed(Start("s3://b/", Bucket([]).ask, PageQuery(""), by_folder=True)) == []


def test_an_error_comes_after_the_pages_before_it() -> None:
    bucket = Bucket(FLAT)

    def ask(query: PageQuery) -> Page:
        if query.token == "2000":
            raise TransientSourceError("s3://b/", "gone")
        return bucket.ask(query)

    found: list[str] = []
    with pytest.raises(TransientSourceError, match="gone"):
        found.extend(key for _, page in walk([Start("s3://b/", ask, PageQuery(""))]) for key in page.keys)
    assert found == FLAT[:2000]


def circle(length: int, before: int = 0) -> Callable[[PageQuery], Page]:
    """Tokens that go round in a circle after some pages."""

    def ask(query: PageQuery) -> Page:
        at = int(query.token or 0)
        return Known([f"{at:05d}"], token=str(at + 1 if at < before + length - 1 else before))

    return ask


def fresh(make: Callable[[int], Known]) -> Callable[[PageQuery], Page]:
    """Pages that each have a token of their own; ``make`` makes one of its number."""
    numbers = itertools.count(1)

    def ask(_: PageQuery) -> Page:
        number = next(numbers)
        return replace(make(number), token=str(number))

    return ask


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda _: Known(["a"], token="t"), "repeats a token"),
        (lambda _: Known(token="t"), "repeats a token"),
        (circle(2), "repeats a token"),
        (circle(7, before=20), "repeats a token"),
        (fresh(lambda _: Known(["a", "b"])), "repeats a page"),
        (fresh(lambda _: Known(folders=["a/"])), "repeats a page"),
        (fresh(lambda number: Known([str(number % 3)])), "repeats a page"),
        (fresh(lambda _: Known()), "nothing but empty pages"),
    ],
)
def test_circles_are_noticed(ask: Callable[[PageQuery], Page], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        listed(Start("s3://b/", ask, PageQuery("")))


def test_empty_pages_in_between_are_no_circle() -> None:
    def ask(query: PageQuery) -> Page:
        at = int(query.token or 0)
        return Known([str(at)] if at % 100 == 0 else [], token=str(at + 1) if at < 1000 else "")

    assert listed(Start("s3://b/", ask, PageQuery(""))) == [str(at) for at in range(0, 1001, 100)]


def test_pages_are_not_kept() -> None:
    alive: weakref.WeakSet[Page] = weakref.WeakSet()

    class Counted(Known):
        __hash__ = object.__hash__

    def ask(query: PageQuery) -> Page:
        at = int(query.token or 0)
        page = Counted([f"{at:06}"], token=str(at + 1) if at < 3000 else "")
        alive.add(page)
        return page

    most = 0
    for _ in walk([Start("s3://b/", ask, PageQuery(""))], in_flight=4):
        most = max(most, len(alive))
    assert most <= 4 + 4


def test_whether_there_is_any_object() -> None:
    bucket = Bucket(FLAT)
    uri = parse("s3://b/train/")
    assert holds_any(uri, bucket.ask)
    assert {query.max_keys for query in bucket.asked} == {1}
    assert not holds_any(parse("s3://b/none/"), bucket.ask)
    assert holds_any(uri, lambda query: Known(["train/x"]) if query.token else Known(token="t"))


@pytest.mark.parametrize("folders", [["a/"], ["a/", "a/"], ["a/" + "x" * 5000 + "/"], ["a/x"]])
def test_folders_that_are_none_are_noticed(folders: list[str]) -> None:
    def ask(query: PageQuery) -> Page:
        if query.delimiter:
            return Known([], folders)
        return Known([f"a/x/{number}" for number in range(1000)], token="t")

    with pytest.raises(SourceError, match="folders that are none"):
        listed(Start("s3://b/", ask, PageQuery("a/"), by_folder=True))


# A server


@dataclass
class Server:
    """Serves the listing of one bucket, as good or bad servers do.

    Attributes:
        version: 1 for servers that know nothing of tokens.
        names_marker: whether version 1 says NextMarker.
        answer: makes an answer from one, to break it.
        asked: the queries so far.
    """

    keys: Sequence[str]
    version: int = 2
    names_marker: bool = False
    answer: Callable[[bytes], bytes] = bytes
    statuses: list[int] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    endpoint: str = ""

    def page(self, query: dict[str, str]) -> bytes:
        self.asked.append(query)
        after = query.get("marker", query.get("start-after", ""))
        if self.version == 2:
            after = query.get("continuation-token", after)
        keys = [key for key in self.keys if key.startswith(query.get("prefix", ""))]
        start = bisect.bisect_right(keys, after)
        page, more = keys[start : start + 1000], start + 1000 < len(keys)
        rest = f"<IsTruncated>{str(more).lower()}</IsTruncated><EncodingType>url</EncodingType>"
        if more and self.version == 2:
            rest += f"<NextContinuationToken>{page[-1]}</NextContinuationToken>"
        elif more and self.names_marker:
            rest += f"<NextMarker>{quote_plus(page[-1])}</NextMarker>"
        blocks = "".join(
            f"<Contents><Key>{quote_plus(key)}</Key><Size>{len(key)}</Size></Contents>" for key in page
        )
        return f"<ListBucketResult>{rest}{blocks}</ListBucketResult>".encode()


@pytest.fixture
def serve() -> Iterator[Callable[[Server], Server]]:
    running = []

    def start(server: Server) -> Server:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = {name: value for name, (value,) in parse_qs(urlsplit(self.path).query).items()}
                body = server.answer(server.page(query))
                self.send_response(server.statuses.pop(0) if server.statuses else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        running.append(http)
        server.endpoint = f"http://127.0.0.1:{http.server_port}"
        return server

    yield start
    for http in running:
        http.shutdown()
        http.server_close()


def list_server(server: Server, prefix: str = "s3://b/") -> list[str]:
    uri = parse(prefix)

    def failure(outcome: Outcome) -> SourceError:
        return SourceError(uri.redacted, str(outcome.error or (outcome.head and outcome.head.status)))

    with Transport() as transport:

        def ask(query: PageQuery) -> Page:
            request = Request(f"{server.endpoint}/b?{query_string(query)}")
            return parse_page(read_page(transport, request, lambda *_: None, failure), query)

        return [info.uri.removeprefix("s3://b/") for info in list_in_order(uri, ask)]


KEYS = sorted(f"a {number:04d}+é.jpg" for number in range(1500))


def test_a_server_with_tokens(serve: Callable[[Server], Server]) -> None:
    server = serve(Server(KEYS))
    assert list_server(server) == KEYS
    assert [query.get("continuation-token") for query in server.asked] == [None, KEYS[999]]


@pytest.mark.parametrize("names_marker", [True, False])
def test_a_server_that_knows_version_1_only_is_followed_to_the_end(
    serve: Callable[[Server], Server], names_marker: bool
) -> None:
    server = serve(Server(KEYS, version=1, names_marker=names_marker))
    assert list_server(server) == KEYS
    assert [query.get("marker") for query in server.asked] == [None, KEYS[999]]
    assert "list-type" not in server.asked[1]


def test_a_server_that_ignores_where_to_go_on_is_noticed(serve: Callable[[Server], Server]) -> None:
    class Forgetful(Server):
        def page(self, query: dict[str, str]) -> bytes:
            return super().page({"prefix": query.get("prefix", "")})

    for version in (1, 2):
        with pytest.raises(SourceError, match="would never end"):
            list_server(serve(Forgetful(KEYS, version=version)))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda body: body[: len(body) // 2], "no valid XML"),
        (lambda body: b'<!DOCTYPE a [<!ENTITY b "c">]>' + body, "document type"),
        (lambda body: b"<html/>", "no listing"),
        (lambda body: b"", "no valid XML"),
        (lambda body: body.replace(b"<Size>", b"<Size>-"), "gives the size"),
        (
            lambda body: b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "how to go on",
        ),
        (lambda body: body + b" " * (33 << 20), "larger than"),
    ],
)
def test_a_server_that_lies_is_an_error(
    serve: Callable[[Server], Server], answer: Callable[[bytes], bytes], reason: str
) -> None:
    with pytest.raises(SourceError, match=reason):
        list_server(serve(Server(KEYS, answer=answer)))


def test_what_follows_from_an_answer_is_asked_for(serve: Callable[[Server], Server]) -> None:
    server = serve(Server(KEYS[:3], statuses=[307]))
    with Transport() as transport:
        asked = []

        def follow(request: Request, outcome: Outcome) -> Request | None:
            assert outcome.head is not None
            asked.append(outcome.head.status)
            return replace(request, url=f"{server.endpoint}/c")

        read_page(transport, Request(f"{server.endpoint}/b"), follow, lambda _: SourceError("", ""))
    assert asked == [307]
