"""Pages of listings, as Azure Blob Storage writes them."""

from __future__ import annotations

from urllib.parse import parse_qs, quote
from xml.sax.saxutils import escape

import pytest

from forebay.sources.base import ObjectInfo
from forebay.sources.listings import PageError, PageQuery, azure_pages

ALL = PageQuery("")
PROPERTIES = (
    "<Properties><Last-Modified>Sat, 31 Jan 2026 12:00:01 GMT</Last-Modified><Etag>0x8DE1</Etag>"
    "<Content-Length>5</Content-Length><Content-Type>image/jpeg</Content-Type>"
    "<Content-MD5>XUFAKrxLKna5cZ2REBfFkg==</Content-MD5></Properties>"
)


def listing(*blobs: str, marker: str = "") -> bytes:
    """A page with these blobs and folders."""
    return (
        '\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="c"><Prefix/>'
        f"<Blobs>{''.join(blobs)}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    ).encode()


def blob(key: str, properties: str = PROPERTIES, *, encoded: bool = False) -> str:
    name = f'<Name Encoded="true">{quote(key)}</Name>' if encoded else f"<Name>{escape(key)}</Name>"
    return f"<Blob>{name}{properties}</Blob>"


@pytest.mark.parametrize(
    "key", ["a/b.jpg", "a b+c%20d&e<f>\"g'", "ä/日本/😀", " x ", "//..//./x", "<!--x-->"]
)
def test_every_key_comes_out_exactly(key: str) -> None:
    assert azure_pages.parse_page(listing(blob(key)), ALL).keys == [key]


def test_keys_that_xml_cannot_have_are_percent_encoded() -> None:
    assert azure_pages.parse_page(listing(blob("a\x07%b", encoded=True)), ALL).keys == ["a\x07%b"]


def test_what_a_page_says_of_a_blob_and_of_the_next_page() -> None:
    folder = "<BlobPrefix><Name>dir/</Name></BlobPrefix>"
    page = azure_pages.parse_page(listing(blob("a.jpg"), folder, marker="2!next"), ALL)
    assert page.objects("az://c/") == [
        ObjectInfo(
            "az://c/a.jpg", 5, '"0x8DE1"', 1769860801.0, "image/jpeg", "5d41402abc4b2a76b9719d911017c592"
        )
    ]
    assert (page.folders, page.token) == (["dir/"], "2!next")


def test_what_is_not_told_is_unknown() -> None:
    page = azure_pages.parse_page(listing(blob("a", "<Properties/>")), ALL)
    assert page.objects("az://c/") == [ObjectInfo("az://c/a")]
    assert page.token == ""


@pytest.mark.parametrize(
    "properties",
    [
        PROPERTIES.replace("Sat, 31 Jan 2026 12:00:01 GMT", "yesterday"),
        PROPERTIES.replace("31 Jan 2026", "31 Jan 99999999999"),
        PROPERTIES.replace("XUFAKrxLKna5cZ2REBfFkg==", "XUFA*KrxLKna5cZ2REBfFkg=="),
        PROPERTIES.replace("XUFAKrxLKna5cZ2REBfFkg==", "x"),
    ],
)
def test_what_makes_no_sense_is_unknown_and_the_rest_is_kept(properties: str) -> None:
    (info,) = azure_pages.parse_page(listing(blob("a", properties)), ALL).objects("az://c/")
    assert (info.modified is None) != (info.md5 is None)
    assert (info.size, info.etag) == (5, '"0x8DE1"')


@pytest.mark.parametrize("etag", ['"0x8DE1"', 'W/"0x8DE1"'])
def test_an_etag_that_has_its_quotation_marks_gets_no_others(etag: str) -> None:
    properties = PROPERTIES.replace("0x8DE1", etag)
    (info,) = azure_pages.parse_page(listing(blob("a", properties)), ALL).objects("az://c/")
    assert info.etag == etag


def test_blobs_before_the_start_are_left_out_as_azure_lists_them_too() -> None:
    page = azure_pages.parse_page(listing(*map(blob, "abc")), PageQuery("", start_after="b"))
    assert page.keys == ["c"]
    assert [info.uri for info in page.objects("az://c/")] == ["az://c/c"]


@pytest.mark.parametrize("kind", ["directory", "Directory", " directory "])
def test_directories_of_a_hierarchical_namespace_are_no_blobs(kind: str) -> None:
    directory = f"<Properties><ResourceType>{kind}</ResourceType></Properties>"
    assert azure_pages.parse_page(listing(blob("dir", directory), blob("dir/a")), ALL).keys == ["dir/a"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html></html>", "the answer is no listing"),
        (b"<EnumerationResults>", "no valid XML"),
        (b"\xff\xfe<\x00", "not encoded as it says"),
        (b'<!DOCTYPE x [<!ENTITY e "e">]><EnumerationResults/>', "declares a document type"),
        (listing("<Blob><Properties/></Blob>"), "a blob without a name"),
        (listing("<Blob><Name/><Properties/></Blob>"), "a blob without a name"),
    ],
)
def test_hostile_pages_are_refused(body: bytes, reason: str) -> None:
    with pytest.raises(PageError, match=reason):
        azure_pages.parse_page(body, ALL)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ("", "a blob without properties"),
        ("<Properties><Content-Length>²</Content-Length></Properties>", "gives the size"),
        (f"<Properties><Content-Length>{'9' * 5000}</Content-Length></Properties>", "gives the size"),
    ],
)
def test_metadata_that_is_none_is_refused(properties: str, reason: str) -> None:
    with pytest.raises(PageError, match=reason):
        azure_pages.parse_page(listing(blob("a", properties)), ALL).objects("az://c/")


def test_keys_of_another_prefix_are_refused() -> None:
    with pytest.raises(PageError, match="does not begin with the prefix"):
        azure_pages.parse_page(listing(blob("b/x")), PageQuery("a/"))


def test_questions_to_azure() -> None:
    asked = parse_qs(azure_pages.query_string(PageQuery("a b/é", "t", "/", max_keys=7)))
    assert asked == {
        "restype": ["container"],
        "comp": ["list"],
        "prefix": ["a b/é"],
        "delimiter": ["/"],
        "maxresults": ["7"],
        "marker": ["t"],
    }


def test_the_names_of_containers() -> None:
    body = (
        b"<EnumerationResults><Containers><Container><Name>a</Name></Container><Container><Name>b</Name>"
        b"</Container></Containers><NextMarker>m</NextMarker></EnumerationResults>"
    )
    assert azure_pages.containers_of(body) == (["a", "b"], "m")
