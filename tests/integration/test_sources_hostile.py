"""Servers as they are: each answer is a result or an error of its own object, from every kind of source."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from forebay.errors import (
    AccessDeniedError,
    NotModifiedError,
    ObjectChangedError,
    ObjectNotFoundError,
    SourceError,
    TransientSourceError,
)
from forebay.sources.allowlist import Allowlist
from forebay.sources.azure import azure_source
from forebay.sources.base import Source
from forebay.sources.gcs import gcs_source
from forebay.sources.http import HTTPSource
from forebay.sources.s3 import s3_source
from forebay.uri import MediaURI, parse
from tests.integration.sites import bytes_of, config
from tests.integration.test_transport_hostile import (
    Script,
    bytewise,
    chunked,
    for_ever,
    head,
    resets,
    scripted,
    sends,
    waits,
)

BODY = bytes(range(256)) * 40
PACKED = gzip.compress(BODY)
SIZE = f"Content-Length: {len(BODY)}"
ERROR = b"<Error><Code>SlowDown</Code></Error>"


def answers(*lines: str, body: bytes = BODY, status: str = "200 OK", then: Script | None = None) -> Script:
    return sends(head(*lines, status=f"HTTP/1.1 {status}"), body, then=then)


def packed(encoding: str, body: bytes, *more: str) -> Script:
    return answers(f"Content-Encoding: {encoding}", f"Content-Length: {len(body)}", *more, body=body)


@dataclass(frozen=True)
class Case:
    """A server's answer, and what comes of reading an object whole.

    Attributes:
        gives: the bytes, or the error's kind, with what its message ``says``.
        info: what must be known of the object.
        key: of the object.
    """

    name: str
    script: Script
    gives: bytes | type[SourceError]
    says: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    key: str = "a.jpg"


CASES = [
    Case("nothing but a size", answers(SIZE), BODY, info={"size": len(BODY), "etag": None, "modified": None}),
    Case("no size", answers("Connection: close", 'ETag: "1"'), BODY, info={"size": None, "ranges": False}),
    Case(
        "chunked",
        answers("Transfer-Encoding: chunked", body=chunked(BODY) + b"0\r\n\r\n"),
        BODY,
        info={"size": None},
    ),
    Case("byte by byte", bytewise(head("Content-Length: 300") + BODY[:300]), BODY[:300]),
    Case("an empty object", answers("Content-Length: 0", body=b""), b"", info={"size": 0}),
    *(
        Case(
            f"{encoding} under a plain name",
            packed(encoding, body),
            BODY,
            info={"size": None, "ranges": False, "md5": None},
        )
        for encoding, body in {
            "gzip": PACKED,
            "x-gzip": PACKED,
            "GZIP": PACKED,
            "deflate": zlib.compress(BODY),
            "deflate ": zlib.compress(BODY)[2:-4],
        }.items()
    ),
    *(
        Case(
            f"gzip under the name {key}",
            packed("gzip", PACKED),
            PACKED,
            info={"size": len(PACKED)},
            key=key,
        )
        for key in ("a.json.gz", "a.TGZ", "b/a.svgz")
    ),
    Case("zstd under its name", packed("zstd", b"packed"), b"packed", info={"size": 6}, key="a.zst"),
    *(
        Case(
            f"{encoding} under a plain name",
            packed(encoding, b"packed"),
            SourceError,
            "Content-Encoding that cannot be undone",
        )
        for encoding in ("zstd", "br", "compress", "aws-chunked, gzip", "gzip, gzip", "nonsense")
    ),
    Case("no encoding that looks like one", packed("aws-chunked", BODY), BODY, info={"size": len(BODY)}),
    Case("identity", packed("identity", BODY), BODY, info={"size": len(BODY)}),
    Case("gzip that is none", packed("gzip", BODY), SourceError, "not encoded as its Content-Encoding says"),
    Case("gzip that breaks off", packed("gzip", PACKED[:-1]), SourceError, "not encoded as"),
    Case(
        "gzip that breaks off with the connection",
        answers("Content-Encoding: gzip", "Connection: close", body=PACKED[:-9]),
        SourceError,
        "not encoded as",
    ),
    Case("gzip in two members", packed("gzip", gzip.compress(BODY[:99]) + gzip.compress(BODY[99:])), BODY),
    Case("gzip of much", packed("gzip", gzip.compress(bytes(9_000_000))), bytes(9_000_000)),
    Case(
        "odd headers",
        answers(
            SIZE,
            "ETag: \u00e9\u4e2d",
            "Last-Modified: Thu, 99 Foo 99999999999 99:99:99 GMT",
            "Content-MD5: \u00e9",
            "x-amz-checksum-crc32: \u00e9",
            "x-goog-hash: md5=====",
            "x-goog-stored-content-length: \u00b2",
            "Content-Type: \x07",
        ),
        BODY,
        info={"etag": None, "modified": None, "content_type": None, "md5": None},
    ),
    Case(
        "a date after all calendars",
        answers(SIZE, "Last-Modified: Fri, 31 Dec 9999 23:59:59 GMT"),
        BODY,
        info={"modified": None},
    ),
    Case(
        "a date before the epoch",
        answers(SIZE, "Last-Modified: Fri, 01 Jan 1960 00:00:00 GMT"),
        BODY,
        info={"modified": None},
    ),
    Case("an ETag without end", answers(SIZE, f'ETag: "{"x" * 5000}"'), BODY, info={"etag": None}),
    Case(
        "a length of no number", answers("Content-Length: \u00b2"), SourceError, "valid HTTP|Content-Length"
    ),
    Case(
        "a length of 5,000 digits",
        answers("Content-Length: " + "9" * 5000),
        SourceError,
        "valid HTTP|Content-Length",
    ),
    Case("two lengths", answers("Content-Length: 5", SIZE), SourceError),
    Case("no HTTP", sends(b"220 mail.example.com ESMTP\r\n\r\n"), SourceError, "not valid HTTP"),
    Case("less than announced", answers(SIZE, body=BODY[:-1]), TransientSourceError, "ended early"),
    Case("a reset in the body", answers(SIZE, body=BODY[:99], then=resets), TransientSourceError, "lost"),
    Case("no answer", sends(then=resets), TransientSourceError, "lost"),
    Case("no answer in time", waits, TransientSourceError, "timed out: nothing arrived for 1 s"),
    Case("a stop in the body", answers(SIZE, body=b"x", then=waits), TransientSourceError, "timed out"),
    Case(
        "a body that drips",
        answers("Connection: close", body=b"", then=for_ever(b"x", pause=0.05)),
        TransientSourceError,
        "longer than 2 s",
    ),
    Case(
        "headers that drip",
        sends(b"HTTP/1.1 200 OK\r\n", then=for_ever(b"a: b\r\n", pause=0.05)),
        TransientSourceError,
        "longer than 2 s",
    ),
    Case(
        "an error that drips",
        answers(body=b"", status="403 Forbidden", then=for_ever(b"x", pause=0.05)),
        AccessDeniedError,
    ),
    Case(
        "an error that is reset",
        answers("Content-Length: 500", body=ERROR, status="503 Busy", then=resets),
        TransientSourceError,
        "503",
    ),
    Case(
        "an error without end",
        answers(body=b"", status="500 No", then=for_ever(b"x" * 9999)),
        TransientSourceError,
    ),
    Case(
        "too many requests",
        answers(
            "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", "Content-Length: 0", body=b"", status="429 Slow"
        ),
        TransientSourceError,
        "429",
    ),
    Case("unavailable", answers("Retry-After: \u00b2", SIZE, status="503 Busy"), TransientSourceError, "503"),
    Case("not modified though not asked", answers(body=b"", status="304 Same"), NotModifiedError),
    Case(
        "a part though not asked for",
        answers(SIZE, f"Content-Range: bytes 0-9/{len(BODY)}", status="206 Part"),
        SourceError,
    ),
    Case("no content", answers(body=b"", status="204 None"), SourceError, "204"),
    Case(
        "a failed condition", answers("Content-Length: 0", body=b"", status="412 Other"), ObjectChangedError
    ),
    Case("gone", answers("Content-Length: 0", body=b"", status="410 Gone"), ObjectNotFoundError),
    Case("a redirect to nowhere", answers("Content-Length: 0", body=b"", status="302 Found"), SourceError),
    Case(
        "a redirect to itself",
        answers("Location: /b/a.jpg", "Content-Length: 0", body=b"", status="302 Found"),
        SourceError,
        "10 redirects",
    ),
    Case(
        "a redirect to nonsense",
        answers("Location: http://[::1", "Content-Length: 0", body=b"", status="307 Go"),
        SourceError,
    ),
    Case("a status of no meaning", answers(SIZE, status="799 What"), TransientSourceError, "799"),
]


@pytest.fixture(params=["s3", "gs", "az", "http"])
def make(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], tuple[Source, MediaURI]]:
    """Makes a source of a server, and the URI of a key."""
    scheme: str = request.param
    limits = {"read_timeout_seconds": 1.0, "total_timeout_seconds": 2.0}

    def make(root: str, key: str) -> tuple[Source, MediaURI]:
        if scheme == "http":
            return HTTPSource(config(**limits), Allowlist([root])), parse(f"{root}/b/{key}")
        if scheme == "gs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", root)
            return gcs_source(config(**limits)), parse(f"gs://bucket/{key}")
        if scheme == "az":
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_URL", f"{root}/account")
            monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
            return azure_source(config(**limits)), parse(f"az://bucket/{key}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "key")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", root)
        return s3_source(config(**limits)), parse(f"s3://bucket/{key}")

    return make


Make = Callable[[str, str], tuple[Source, MediaURI]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_an_answer_is_a_result_or_an_error_of_its_object(case: Case, make: Make):
    with scripted(case.script) as url:
        source, uri = make("/".join(url.split("/")[:3]), case.key)

        if isinstance(case.gives, bytes):
            with source.open(uri) as opened:
                assert b"".join(opened) == case.gives
            assert {name: getattr(opened.info, name) for name in case.info} == case.info
        else:
            with pytest.raises(case.gives, match=case.says) as caught:
                bytes_of(source, uri)
            assert len(str(caught.value)) < 300


# Those that take no time; one that asks to be left alone for a minute is.
QUICK = [case for case in CASES if not re.search("drip|stop|time|too many", case.name)]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name.replace(" ", "-"))
def test_parts_and_metadata_are_right_or_an_error(case: Case, make: Make):
    """Whatever was asked for, the server always gives the same answer."""
    with scripted(case.script) as url:
        source, uri = make("/".join(url.split("/")[:3]), case.key)

        for ask in (
            lambda: source.read_range(uri, 10, 20),
            lambda: source.read_range(uri, 10, 20, etag='"another"'),
            lambda: source.read_start(uri, 10).data,
        ):
            try:
                data = bytes(ask())
            except SourceError:
                continue
            whole = case.gives if isinstance(case.gives, bytes) else BODY
            assert data in (whole[10:20], whole[:10])
        try:
            info = source.head(uri)
        except SourceError:
            return
        assert info.size is None or info.size >= 0


class TestRanges:
    @pytest.mark.parametrize(
        "span",
        [
            "bytes 0-9/100",
            "bytes 11-20/100",
            "bytes 10-99/100",
            "bytes 10-19/5",
            "bytes */100",
            "items 10-19/100",
            "\u00b2",
            "",
        ],
    )
    def test_that_are_others_than_those_asked_for(self, make: Make, span: str):
        script = answers("Content-Length: 10", f"Content-Range: {span}", body=BODY[:10], status="206 Part")
        with scripted(script) as url:
            source, uri = make("/".join(url.split("/")[:3]), "a.jpg")

            with pytest.raises(SourceError, match=r"another range|more than the range"):
                source.read_range(uri, 10, 20)

    @pytest.mark.parametrize("body", [b"", b"hello"])
    @pytest.mark.parametrize("said", ["", "Content-Range: bytes */5\r\n", "Content-Range: bytes */*\r\n"])
    def test_that_a_server_refuses_say_nothing_of_the_object(self, make: Make, said: str, body: bytes):
        """It counts as empty only if the request for the whole says so."""

        def script(client: Any, ended: Any) -> None:
            if next(turns) == "part":
                client.sendall(f"HTTP/1.1 416 No\r\nContent-Length: 0\r\n{said}\r\n".encode())
            else:
                client.sendall(head(f"Content-Length: {len(body)}") + body)

        turns = iter(["part", "whole", "part", "whole", "part"])
        with scripted(script) as url:
            source, uri = make("/".join(url.split("/")[:3]), "a.jpg")

            beginning = source.read_start(uri, 10)
            assert (bytes(beginning.data), beginning.info.size) == (body, len(body))
            assert bytes(source.read_range(uri, 0, 3)) == body[:3]
            assert source.read_range(uri, 5, 9) == b""

    def test_of_an_object_that_another_node_tells_otherwise(self, make: Make):
        script = answers(
            'ETag: "theirs"',
            "Content-Range: bytes 0-9/100",
            "Content-Length: 10",
            body=BODY[:10],
            status="206 Part",
        )
        with scripted(script) as url:
            source, uri = make("/".join(url.split("/")[:3]), "a.jpg")

            with pytest.raises(ObjectChangedError):
                source.read_range(uri, 0, 10, etag='"ours"')

    def test_of_a_stored_encoding(self, make: Make):
        # Given a server that knows ranges, and sends those of the packed bytes
        def script(client: Any, ended: Any) -> None:
            part = PACKED[5:9] if next(turns) == "part" else None
            lines = ["Content-Encoding: gzip", "Connection: close"]
            if part is not None:
                lines += [f"Content-Range: bytes 5-8/{len(PACKED)}", f"Content-Length: {len(part)}"]
                client.sendall(head(*lines, status="HTTP/1.1 206 Part") + part)
            else:
                client.sendall(head(*lines, f"Content-Length: {len(PACKED)}") + PACKED)

        turns = iter(["part", "whole"])
        with scripted(script) as url:
            source, uri = make("/".join(url.split("/")[:3]), "a.json")

            assert bytes(source.read_range(uri, 5, 9)) == BODY[5:9]


def test_a_stream_that_nobody_reads_holds_little_and_keeps_no_other_waiting(make: Make):
    # Given more streams than requests that a server gets at a time, of bodies without end
    script = answers("Connection: close", body=b"", then=for_ever(b"x" * 65536))
    with scripted(script) as url:
        source, uri = make("/".join(url.split("/")[:3]), "a.bin")
        streams = [source.open(uri) for _ in range(40)]

        for stream in streams:
            assert next(iter(stream))
            stream.close()
