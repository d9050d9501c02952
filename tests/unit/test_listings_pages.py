"""Pages of listings, as S3 and Google Cloud Storage write them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, quote_plus
from xml.sax.saxutils import escape

import pytest

from forebay.sources.base import ObjectInfo
from forebay.sources.listings import Marker, PageError, PageQuery, azure_pages, gcs_pages, s3_pages

ALL = PageQuery("")
KEYS = [
    "a/b.jpg",
    "a b+c%20d&e<f>\"g'.jpg",
    "%2F%2f%25",
    "ä/日本/😀.png",
    "tab\tnewline\nreturn\rbell\x07",
    "//..//./x",
    "]]> <![CDATA[ <Key>k</Key></Contents>",
    "+",
    " leading and trailing ",
]


def listing(
    keys: list[str], *, url: bool = True, head: str = "", block: str | None = None, more: str = ""
) -> bytes:
    """A page of S3; ``{key}`` in ``block`` stands for the key as it is written."""
    block = block or (
        "<Contents><Key>{key}</Key><LastModified>2026-01-31T12:00:01.987Z</LastModified>"
        "<ETag>&quot;d41d8&quot;</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )
    written = [escape(quote_plus(key, safe="/") if url else key) for key in keys]
    blocks = "".join(block.format(key=key) for key in written)
    kind = "<EncodingType>url</EncodingType>" if url else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult '
        f'xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{kind}{head}{blocks}{more}</ListBucketResult>\n'
    ).encode()


def test_every_key_comes_out_exactly() -> None:
    page = s3_pages.parse_page(listing(KEYS), ALL)
    assert page.keys == KEYS
    assert page.objects("s3://b/") == [
        ObjectInfo(f"s3://b/{key}", 5, '"d41d8"', 1769860801.0) for key in KEYS
    ]


def test_keys_that_are_not_percent_encoded_stay_as_they_are() -> None:
    keys = [key for key in KEYS if "\x07" not in key and "\r" not in key]
    assert s3_pages.parse_page(listing(keys, url=False), ALL).keys == keys
    references = listing([], url=False, more="<Contents><Key>a&#x1F600;&#10;&#x0D;b</Key></Contents>")
    assert s3_pages.parse_page(references, ALL).keys == ["a😀\n\rb"]


@pytest.mark.parametrize(
    "block",
    [
        "<Contents><ETag>&quot;e&quot;</ETag><Key>{key}</Key><Size>7</Size></Contents>",
        '<Contents>\n  <Key>{key}</Key>\n  <Size>7</Size>\n  <ETag>"e"</ETag>\n</Contents>\n',
        "<Contents><Key>{key}</Key><ETag>&#34;e&#34;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>"
        "<ChecksumAlgorithm>SHA1</ChecksumAlgorithm><Size>7</Size><Owner><ID>i</ID>"
        "<DisplayName>d</DisplayName></Owner></Contents>",
        '<Contents><Owner><ID/><Key>no</Key></Owner><Key>{key}</Key><Size>7</Size><ETag>"e"</ETag></Contents>',
        "<Contents a='b'><Key>{key}</Key><Size>7</Size><ETag>\"e\"</ETag></Contents>",
        '<!-- c --><Contents><Key>{key}</Key><Size>7</Size><ETag><![CDATA["e"]]></ETag></Contents>',
        "<x:Contents xmlns:x='y'><x:Key>{key}</x:Key><x:Size>7</x:Size><x:ETag>\"e\"</x:ETag></x:Contents>",
    ],
)
def test_objects_of_every_shape(block: str) -> None:
    page = s3_pages.parse_page(listing(["a", "b c"], block=block), ALL)
    assert page.objects("s3://b/") == [ObjectInfo(f"s3://b/{key}", 7, '"e"') for key in ("a", "b c")]


def test_objects_of_several_shapes_keep_their_order() -> None:
    odd = "<Contents><Size>1</Size><Key>b</Key></Contents>"
    body = listing(["a"], more=odd + "<Contents><Key>c</Key><Size>5</Size></Contents>")
    page = s3_pages.parse_page(body, ALL)
    assert page.keys == ["a", "b", "c"]
    assert [info.size for info in page.objects("")] == [5, 1, 5]


def test_what_is_commented_out_is_not_listed() -> None:
    body = listing(["a"]).replace(b"<Contents>", b"<!-- ").replace(b"</Contents>", b" -->")
    assert s3_pages.parse_page(body, ALL).keys == []
    body = listing(["a"], more="<!-- " + "<Contents><Key>b</Key></Contents>" + " -->")
    assert s3_pages.parse_page(body, ALL).keys == ["a"]


def test_folders_and_empty_pages() -> None:
    folder = "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>"
    more = folder.format("a+b/") + folder.format("c/")
    page = s3_pages.parse_page(listing(["x"], more=more), ALL)
    assert (page.keys, page.folders, page.token) == (["x"], ["a b/", "c/"], "")
    assert s3_pages.parse_page(listing([]), ALL).keys == []


@pytest.mark.parametrize(
    ("head", "token"),
    [
        (
            "<IsTruncated>true</IsTruncated><NextContinuationToken>a+b&amp;==</NextContinuationToken>",
            "a+b&==",
        ),
        ("<IsTruncated>false</IsTruncated>", ""),
        ("<IsTruncated>false</IsTruncated><NextMarker>k</NextMarker>", ""),
        ("<NextContinuationToken>t</NextContinuationToken>", "t"),
        ("", ""),
        ("<IsTruncated>true</IsTruncated><NextMarker>a%2Bb</NextMarker>", "a+b"),
        ("<IsTruncated>true</IsTruncated>", "z é"),
    ],
)
def test_how_a_listing_goes_on(head: str, token: str) -> None:
    page = s3_pages.parse_page(listing(["a", "z é"], head=head), ALL)
    assert page.token == token
    assert isinstance(page.token, Marker) == (token in ("a+b", "z é"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (listing(["a", "b"])[:-5], "no valid XML"),
        (listing(["a", "b"])[:300], "no valid XML"),
        (b"", "no valid XML"),
        (b"<html><body>Log in</body></html>", "no listing"),
        (b"<Error><Code>SlowDown</Code></Error>", "SlowDown instead of a listing"),
        (b"<Error/>", "an error instead of a listing"),
        (listing(["a"]).replace(b"?>", b"?><!DOCTYPE x>", 1), "document type"),
        (
            b'<!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><ListBucketResult>&b;</ListBucketResult>',
            "document type",
        ),
        (listing(["a"], block="<Contents><Key>&bomb;{key}</Key></Contents>"), "unknown entity"),
        (listing(["a"], block="<Contents><Key>a & b</Key></Contents>"), "unknown entity"),
        (listing(["a"], block="<Contents><Key>&#x110000;</Key></Contents>"), "unknown entity"),
        (listing([], head="<IsTruncated>true</IsTruncated>"), "does not say how to go on"),
        (listing([], more="<Contents><Size>1</Size></Contents>"), "without a key"),
        (listing(["a"], more="<A>" * 100_000), "nested too deeply"),
        (listing(["a"]).replace(b"<Key>a", b"<Key>\xff"), "not encoded as it says"),
        (listing(["a"], block="<Contents><Key>&#xD800;</Key></Contents>"), "no Unicode text"),
        (listing(["a"], block="<Contents><Key>&#0;</Key></Contents>"), "unknown entity"),
        (listing(["a"], block="<Contents><Key>&#x1F;</Key></Contents>"), "unknown entity"),
        (listing(["a"], block="<Contents><Key>a\x01b</Key></Contents>"), "no valid XML"),
        (listing(["a"], block="<Contents><Key>a</Key><Key>b</Key></Contents>"), "two keys"),
        (listing(["a"], block="<Contents><Key><b>a</b></Key></Contents>"), "without a key"),
        (listing(["a"], block="<Contents><Key></Key></Contents>"), "without a key"),
    ],
)
def test_hostile_pages_are_refused(body: bytes, reason: str) -> None:
    with pytest.raises(PageError, match=reason):
        s3_pages.parse_page(body, ALL)


@pytest.mark.parametrize("size", ["²", "-1", "1e3", "9" * 5000, "0x1"])
def test_sizes_that_are_none(size: str) -> None:
    body = listing(["a"], block=f"<Contents><Key>{{key}}</Key><Size>{size}</Size></Contents>")
    with pytest.raises(PageError, match="gives the size"):
        s3_pages.parse_page(body, ALL).objects("")


@pytest.mark.parametrize("etag", ["a&#10;b: c", "\u00e9", "&#x7f;"])
def test_an_etag_that_no_header_can_have_is_none(etag: str) -> None:
    body = listing(["a"], block=f"<Contents><Key>{{key}}</Key><ETag>{etag}</ETag></Contents>")
    assert s3_pages.parse_page(body, ALL).objects("") == [ObjectInfo("a")]


def test_ends_of_lines_are_as_a_parser_has_them() -> None:
    body = listing(["a\r\nb"], url=False, block="<Contents><Key>{key}</Key></Contents>")
    assert s3_pages.parse_page(body, ALL).keys == ["a\nb"]


def test_what_is_not_told_is_unknown() -> None:
    block = "<Contents><Key>{key}</Key><LastModified>yesterday</LastModified></Contents>"
    assert s3_pages.parse_page(listing(["a"], block=block), ALL).objects("") == [ObjectInfo("a")]


def test_keys_of_another_prefix_are_refused() -> None:
    with pytest.raises(PageError, match="does not begin with the prefix"):
        s3_pages.parse_page(listing(["a/1", "b/1"]), PageQuery("a/"))


def test_other_encodings_are_read_as_declared() -> None:
    body = listing(["é"], url=False).decode().replace("UTF-8", "ISO-8859-1").encode("latin-1")
    assert s3_pages.parse_page(body, ALL).keys == ["é"]


def test_questions_to_s3() -> None:
    query = PageQuery("a b/é", delimiter="/", start_after="x", max_keys=5)
    assert s3_pages.query_string(query) == (
        "delimiter=%2F&encoding-type=url&list-type=2&max-keys=5&prefix=a%20b%2F%C3%A9&start-after=x"
    )
    assert s3_pages.query_string(PageQuery("", "t+/=")) == (
        "continuation-token=t%2B%2F%3D&encoding-type=url&list-type=2&prefix="
    )
    assert s3_pages.query_string(PageQuery("", Marker("a b"))) == "encoding-type=url&marker=a%20b&prefix="


def test_what_is_no_utf8_is_asked_for_all_the_same() -> None:
    assert s3_pages.query_string(PageQuery("", Marker("a\udcff"))) == "encoding-type=url&marker=a%FF&prefix="
    assert azure_pages.query_string(PageQuery("\udcff")).endswith("&prefix=%FF")
    # JSON can say what no UTF-8 can.
    assert gcs_pages.query_string(PageQuery("", "\ud800")).endswith("&pageToken=%ED%A0%80")


def google(*items: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"items": items, **more}).encode()


def test_pages_of_google() -> None:
    item = {
        "name": KEYS[4],
        "size": "5",
        "md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg==",
        "updated": "2026-01-31T12:00:01.987Z",
        "contentType": "image/jpeg",
    }
    body = google(item, {"name": "b", "md5Hash": "?", "updated": 5}, prefixes=["c/"], nextPageToken="t")
    page = gcs_pages.parse_page(body, ALL)
    assert (page.folders, page.token) == (["c/"], "t")
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    assert page.objects("gs://b/") == [
        ObjectInfo(f"gs://b/{KEYS[4]}", 5, None, 1769860801.0, content_type="image/jpeg", md5=md5),
        ObjectInfo("gs://b/b"),
    ]
    assert gcs_pages.parse_page(b"{}", ALL).keys == []


def test_google_begins_at_a_key_and_not_after_it() -> None:
    page = gcs_pages.parse_page(google({"name": "a"}, {"name": "b"}), PageQuery("", start_after="a"))
    assert page.keys == [info.uri for info in page.objects("")] == ["b"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"5", b"[" * 100_000, b'{"items": 5}', b'{"items": [{}]}', b'{"items": [5]}',
     b'{"items": [{"name": 5}]}', b'{"items": [{"name": "\\ud800"}]}', b'{"nextPageToken": 5}',
     b'{"prefixes": 5}', b'{"prefixes": [5]}', b'{"prefixes": [null]}', b'{"prefixes": "ab/"}',
     b'{"prefixes": ["\\ud800/"]}', b'{"items": {}}', b'{"items": [{"name": ""}]}',
     b'{"error": {"code": 403, "message": "x"}}', b'"items"'],
)  # fmt: skip
def test_hostile_pages_of_google_are_refused(body: bytes) -> None:
    with pytest.raises(PageError):
        gcs_pages.parse_page(body, PageQuery("")).objects("")


def test_what_google_says_of_an_object_is_left_out_where_it_is_of_another_kind() -> None:
    item = {"name": "a", "md5Hash": "AAAA", "contentType": {"a": 1}}
    page = gcs_pages.parse_page(google(item, nextPageToken=None), ALL)
    assert (page.objects(""), page.token) == ([ObjectInfo("a")], "")


def test_questions_to_google() -> None:
    asked = parse_qs(gcs_pages.query_string(PageQuery("a b/é", "t", "/", "x")))
    assert {name: value for name, (value,) in asked.items() if name != "fields"} == {
        "prefix": "a b/é",
        "delimiter": "/",
        "startOffset": "x",
        "pageToken": "t",
        "maxResults": "1000",
    }
