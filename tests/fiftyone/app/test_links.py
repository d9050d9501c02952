"""Links to remote media: what they look like, and who can make them."""

from __future__ import annotations

import base64

import pytest

from forebay.fiftyone.app import signed_links

KEY, NOW = b"k" * 32, 1_700_000_000.0
DAY = 86_400


def test_a_link_leads_back_to_its_uri() -> None:
    uri = "s3://bucket/a b/100% of ä&#+?.jpg"
    target = signed_links.read(KEY, signed_links.make(KEY, uri, NOW), NOW)
    assert target is not None
    assert (target.uri, target.asset) == (uri, "")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/images/a.jpg", "a.jpg"),
        ("s3://bucket/100% of a+b & c#d.png", "100__of_a_b___c_d.png"),
        ("https://host/a%20b.mp4?X-Amz-Signature=secret", "a_b.mp4"),
        ("s3://bucket/" + "n" * 900 + ".fo3d", "n" * 95 + ".fo3d"),
    ],
)
def test_it_ends_like_the_file_and_holds_nothing_that_needs_encoding(uri: str, name: str) -> None:
    link = signed_links.make(KEY, uri, NOW)
    assert link.endswith(f"/{name}")
    assert set(link) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./")
    assert "://" not in link, "the front end would load it itself"


def test_it_stays_the_same_for_a_day_so_that_browsers_know_it_again() -> None:
    midnight = NOW // DAY * DAY
    assert signed_links.make(KEY, "s3://b/k", midnight) == signed_links.make(
        KEY, "s3://b/k", midnight + DAY - 1
    )
    assert signed_links.make(KEY, "s3://b/k", midnight) != signed_links.make(KEY, "s3://b/k", midnight + DAY)


def test_it_is_good_for_at_least_a_day_and_at_most_two() -> None:
    link = signed_links.make(KEY, "s3://b/k", NOW)
    assert signed_links.read(KEY, link, NOW + DAY) is not None
    with pytest.raises(signed_links.LinkError, match=r"expired; load the page again"):
        signed_links.read(KEY, link, NOW + 2 * DAY)


@pytest.mark.parametrize("part", ["expiry", "signature", "URI", "key"])
def test_a_changed_one_is_refused(part: str) -> None:
    version, expiry, signature, uri = (
        signed_links.make(KEY, "s3://bucket/a.jpg", NOW).removesuffix("/a.jpg").split(".")[-4:]
    )
    if part == "expiry":
        expiry = str(int(expiry) + DAY)
    elif part == "signature":
        signature = ("A" if signature[0] != "A" else "B") + signature[1:]
    elif part == "URI":
        uri = base64.urlsafe_b64encode(b"s3://bucket/b.jpg").decode().rstrip("=")
    key = b"another key" if part == "key" else KEY
    changed = f"/.forebay/{version.rpartition('/')[2]}.{expiry}.{signature}.{uri}/a.jpg"
    with pytest.raises(signed_links.LinkError, match=r"^this link was not made by this server$"):
        signed_links.read(key, changed, NOW)


def test_what_stands_in_place_of_the_file_name_is_an_asset() -> None:
    link = signed_links.make(KEY, "s3://bucket/box.mtl", NOW).removesuffix("box.mtl")
    target = signed_links.read(KEY, f"{link}../textures/paint.png", NOW)
    assert target is not None
    assert (target.uri, target.asset) == ("s3://bucket/box.mtl", "../textures/paint.png")


@pytest.mark.parametrize("path", ["/data/a.jpg", "/.forebay/", "/.forebay/v2.1.x.y/a", "s3://b/k", "a.jpg"])
def test_other_paths_are_no_links(path: str) -> None:
    assert signed_links.read(KEY, path, NOW) is None
