"""Requests that the App's media route serves, and refuses, sent without a browser."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from forebay.fiftyone.app import signed_links
from forebay.fiftyone.app.failure_log import log_path
from forebay.fiftyone.app.signing_key import signing_key
from tests.fiftyone.app.conftest import Gallery
from tests.fiftyone.app.media import image
from tests.fiftyone.app.server import AppServer
from tests.servers import Fault
from tests.servers.embedded import eventually

RED, GREEN = (200, 30, 40), (30, 160, 60)


@pytest.fixture
def link(app: AppServer, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a link as the server does; the stores are reached from here, too."""
    for name, value in gallery.environment().items():
        monkeypatch.setenv(name, value)
    return lambda uri: signed_links.make(signing_key(app.cache), uri, time.time())


# What is said of what cannot be served


def test_what_cannot_be_shown_is_told_once_for_each_source_and_reason(
    app: AppServer, gallery: Gallery, link: Callable[[str], str]
) -> None:
    bucket = gallery.s3_server.create_bucket()
    uris = [gallery.s3_server.put(bucket, f"refused-{n}.png", image(RED)) for n in range(5)]
    gallery.s3.fault(None, Fault.s3(403, "SignatureDoesNotMatch"))

    replies = [app.get(link(uri)) for uri in uris]
    gallery.s3.reset()
    missing = app.get(link(f"s3://{bucket}/missing.png"))

    # The browser's developer tools show the reason in each response
    assert [reply.status for reply in replies] == [502] * 5
    for uri, reply in zip(uris, replies, strict=True):
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert reply.body.decode().startswith(f"{uri}: access denied (403 Forbidden: SignatureDoesNotMatch)")
    assert missing.status == 404
    # and the log has a line for each reason.
    lines = [line for line in Path(log_path(app.cache)).read_text().splitlines() if bucket in line]
    assert len(lines) == 2
    assert f"cannot show {uris[0]}: access denied (403 Forbidden: SignatureDoesNotMatch)" in lines[0]
    assert f"further failures of s3://{bucket} with this reason are not logged for 10 minutes" in lines[0]
    assert f"cannot show s3://{bucket}/missing.png: no such object" in lines[1]


def test_the_key_that_signs_links_is_not_served(
    app: AppServer, link: Callable[[str], str], tmp_path: Path
) -> None:
    link("s3://bucket/a.jpg")
    file = Path(app.cache.config.cache_dir, ".forebay", "app.key")
    (tmp_path / "a.jpg").symlink_to(file)
    (tmp_path / "b.jpg").write_bytes(image(RED))

    for path in (file, file.with_name("volume.json"), tmp_path / "a.jpg", f"{file.parent}/tmp/../app.key"):
        reply = app.get(str(path))
        assert (reply.status, reply.body) == (403, b"this file is not served\n")
    assert app.get(str(tmp_path / "b.jpg")).body == image(RED)


def test_no_secret_of_a_store_is_in_an_answer_a_page_or_the_log(
    store: str,
    app: AppServer,
    gallery: Gallery,
    link: Callable[[str], str],
    new_dataset: Callable[..., Any],
    imported_fiftyone: Any,
) -> None:
    # given a dataset of what is there, what is missing, and a URL that somebody else signed
    there = gallery.put(store, f"route/{store}-told.png", image(RED))
    uris = [there, f"{there}.missing.png", f"{gallery.http_server.endpoint}/none.png?sv=1&sig=cAnArY7f3e"]
    dataset = new_dataset(*(imported_fiftyone.Sample(filepath=uri) for uri in uris))

    # when the front end loads its page and its media
    replies = [app.get(link(uri)) for uri in uris]
    with urllib.request.urlopen(app.page(dataset), timeout=30) as response:
        page = response.read().decode()

    # then nothing that came of it has a key, or a signature
    assert [reply.status for reply in replies] == [200, 404, 404]
    told = [page, app.log.read_text(), Path(log_path(app.cache)).read_text()]
    told += [f"{reply.headers}{reply.body!r}" for reply in replies]
    for secret in (*gallery.secrets(), "cAnArY7f3e", "sig=", "Signature="):
        assert not any(secret in text for text in told), secret


# What is served


def test_an_object_is_streamed_from_its_source(
    place: str, app: AppServer, gallery: Gallery, link: Callable[[str], str]
) -> None:
    uri = gallery.put(place, "route/red.png", image(RED))
    before = app.cached()

    reply = app.get(link(uri))

    assert (reply.status, reply.body) == (200, image(RED))
    assert reply.headers["Content-Type"] == "image/png"
    assert reply.headers["Content-Length"] == str(len(image(RED)))
    assert reply.headers["Cache-Control"] == "private, max-age=3600"
    assert app.cached() == before


def test_what_a_browser_has_already_is_not_sent_again(
    store: str, app: AppServer, gallery: Gallery, link: Callable[[str], str]
) -> None:
    uri = gallery.put(store, f"route/{store}-again.png", image(RED))
    etag = app.get(link(uri)).headers["ETag"]

    reply = app.get(link(uri), if_none_match=etag)

    assert (reply.status, reply.body) == (304, b"")
    assert [r.method for r in gallery.asked(uri)] == ["GET", "HEAD"]
    gallery.put(store, f"route/{store}-again.png", image(GREEN))
    assert app.get(link(uri), if_none_match=etag).body == image(GREEN)


@pytest.mark.parametrize("is_cached", [False, True], ids=["streamed", "cached"])
@pytest.mark.parametrize(
    ("asked", "status", "part", "told"),
    [
        ("bytes=0-", 206, slice(0, None), "bytes 0-1999999/2000000"),
        ("bytes=10-19", 206, slice(10, 20), "bytes 10-19/2000000"),
        ("bytes=1500000-", 206, slice(1_500_000, None), "bytes 1500000-1999999/2000000"),
        ("bytes=-5", 206, slice(-5, None), "bytes 1999995-1999999/2000000"),
        ("bytes=1999990-9999999", 206, slice(1_999_990, None), "bytes 1999990-1999999/2000000"),
        ("bytes=2000000-", 416, slice(0, 0), "bytes */2000000"),
        ("bytes=1-2,5-6", 200, slice(0, None), None),
    ],
)
def test_a_part_is_served_alone(
    asked: str,
    status: int,
    part: slice,
    told: str | None,
    is_cached: bool,
    place: str,
    app: AppServer,
    gallery: Gallery,
    link: Callable[[str], str],
) -> None:
    content = bytes(range(250)) * 8000
    uri = gallery.put(place, f"route/{'cached' if is_cached else 'streamed'}.mp4", content)
    if is_cached:
        app.cache.local_path(uri)

    reply = app.get(link(uri), range=asked)

    assert (reply.status, reply.body) == (status, content[part])
    assert reply.headers.get("Content-Range") == told


def test_a_part_of_what_has_changed_meanwhile_is_not_served(
    store: str, app: AppServer, gallery: Gallery, link: Callable[[str], str]
) -> None:
    uri = gallery.put(store, "route/changing.mp4", b"old" * 1000)
    etag = app.get(link(uri), range="bytes=0-9").headers["ETag"]
    assert app.get(link(uri), range="bytes=3-5", if_range=etag).status == 206
    gallery.put(store, "route/changing.mp4", b"new" * 1000)

    reply = app.get(link(uri), range="bytes=3-5", if_range=etag)

    assert (reply.status, reply.body) == (200, b"new" * 1000)


def test_head_tells_without_the_bytes(
    place: str, app: AppServer, gallery: Gallery, link: Callable[[str], str]
) -> None:
    uri = gallery.put(place, f"route/head-{place}.png", image(RED))
    reply = app.get(link(uri), method="HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == str(len(image(RED)))
    assert [request.method for request in gallery.asked(uri)] == ["HEAD"]


def test_what_is_cached_is_served_without_its_source(
    place: str, app: AppServer, gallery: Gallery, link: Callable[[str], str]
) -> None:
    uri = gallery.put(place, "route/there.png", image(RED))
    app.cache.local_path(uri)
    asked = len(gallery.asked(uri))

    assert app.get(link(uri)).body == image(RED)
    assert len(gallery.asked(uri)) == asked


def test_looking_at_an_image_caches_it_where_the_settings_say_so(
    store: str, keeping_app: AppServer, gallery: Gallery
) -> None:
    uri = gallery.put(store, f"route/{store}-kept.png", image(RED))
    link = signed_links.make(signing_key(keeping_app.cache), uri, time.time())
    before = keeping_app.cached()

    assert [keeping_app.get(link).body for _ in range(3)] == [image(RED)] * 3

    assert keeping_app.cached() == before + 1
    assert len(gallery.asked(uri)) == 1


def test_looking_at_a_video_never_caches_it(store: str, keeping_app: AppServer, gallery: Gallery) -> None:
    uri = gallery.put(store, "route/video.mp4", b"frames" * 1000)
    before = keeping_app.cached()

    assert keeping_app.get(signed_links.make(signing_key(keeping_app.cache), uri, time.time())).status == 200

    assert keeping_app.cached() == before


def test_a_browser_that_goes_away_ends_the_download(
    app: AppServer, gallery: Gallery, link: Callable[[str], str]
) -> None:
    # given a download of 64 MiB, of which one piece has arrived
    uri = gallery.put("http", "route/long.mp4", bytes(64 << 20))
    server = urlsplit(app.url)
    connection = http.client.HTTPConnection(server.hostname or "", server.port)
    connection.request(
        "GET", urlsplit(app.media_url(link(uri))).path + "?" + urlsplit(app.media_url(link(uri))).query
    )
    response = connection.getresponse()
    response.read(100_000)

    # when the browser closes the connection
    response.close()
    connection.close()

    # then no more is asked for, however many other requests are served meanwhile
    other = link(gallery.put("http", "route/other.png", image(RED)))
    asked: list[int] = []

    def has_ended() -> bool:
        asked.append(len(gallery.asked(uri)))
        assert app.get(other).status == 200
        return len(asked) > 20 and len(set(asked[-20:])) == 1

    eventually(has_ended)
    # 64 MiB take 20 requests
    assert asked[-1] < 12


# For as long as FIFTYONE_SIGNED_URL_EXPIRATION says of the server that signs; fake-gcs-server has no keys.
SIGNATURES = {
    "s3": "X-Amz-Algorithm=AWS4-HMAC-SHA256&.*X-Amz-Expires=86400&.*X-Amz-Signature=[0-9a-f]{64}",
    "gs": "",
    "az": "(?=.*sp=r&)(?=.*se=[^&]+).*sig=[^&]+",
}


def test_signed_urls_send_the_browser_to_the_bucket(
    store: str, signing_app: AppServer, gallery: Gallery
) -> None:
    uri = gallery.put(store, "route/signed.mp4", b"frames")
    made = signed_links.make(signing_key(signing_app.cache), uri, time.time())

    reply = signing_app.get(made)

    assert reply.status == 307
    location, _, signature = reply.headers["Location"].partition("?")
    assert unquote(location).endswith("/route/signed.mp4")
    assert re.fullmatch(SIGNATURES[store], signature)
    with urllib.request.urlopen(reply.headers["Location"], timeout=30) as response:
        assert response.read() == b"frames"


def test_the_size_of_what_is_signed_is_told_here(signing_app: AppServer, gallery: Gallery) -> None:
    # given a recording, whose size the browser asks for before its ranges
    uri = gallery.put("s3", "route/signed.mcap", b"messages")
    made = signed_links.make(signing_key(signing_app.cache), uri, time.time())

    reply = signing_app.get(made, method="HEAD")

    # then it is not sent to the bucket, which would refuse it: a signed URL is for one method only.
    assert (reply.status, reply.headers["Content-Length"]) == (200, "8")
    assert reply.headers["Accept-Ranges"] == "bytes"


# What is refused


@pytest.fixture
def secret(gallery: Gallery) -> str:
    """An object that the server could read, and never handed out."""
    return gallery.put("s3", "route/secret.png", image(GREEN))


def test_a_uri_that_was_not_handed_out(app: AppServer, secret: str) -> None:
    assert app.get(secret).status == 404


def test_a_link_with_another_key(app: AppServer, secret: str, gallery: Gallery) -> None:
    reply = app.get(signed_links.make(b"guessed", secret, time.time()))
    assert (reply.status, reply.body) == (403, b"this link was not made by this server\n")
    assert gallery.asked(secret) == []


def test_a_link_of_another_object_with_its_signature_exchanged(
    app: AppServer, gallery: Gallery, secret: str, link: Callable[[str], str]
) -> None:
    mine = link(gallery.put("s3", "route/mine.png", image(RED))).split(".")
    theirs = link(secret).split(".")
    theirs[-3] = mine[-3]
    assert app.get(".".join(theirs)).status == 403


def test_a_link_that_has_expired(app: AppServer, secret: str) -> None:
    old = signed_links.make(signing_key(app.cache), secret, time.time() - 3 * 86_400)
    reply = app.get(old)
    assert (reply.status, reply.body) == (403, b"this link has expired; load the page again\n")


@pytest.mark.parametrize("asset", ["secret.png", "../route/secret.png", "./secret.png", "/etc/passwd"])
def test_a_file_beside_the_one_that_was_handed_out(
    asset: str, app: AppServer, gallery: Gallery, secret: str, link: Callable[[str], str]
) -> None:
    mine = link(gallery.put("s3", "route/mine.png", image(RED))).removesuffix("mine.png")
    reply = app.get(mine + asset)
    assert (reply.status, reply.body) == (403, b"this link is for another file\n")


def test_a_file_that_a_material_does_not_name(
    app: AppServer, gallery: Gallery, secret: str, link: Callable[[str], str]
) -> None:
    material = gallery.put("s3", "route/m.mtl", b"newmtl m\nmap_Kd -s 1 1 1 paint.png\n")
    gallery.put("s3", "route/paint.png", image(RED))
    folder = link(material).removesuffix("m.mtl")

    assert app.get(f"{folder}paint.png").body == image(RED)
    assert app.get(f"{folder}secret.png").status == 403


@pytest.mark.parametrize(
    "path",
    [
        "file:///etc/passwd",
        "/.forebay/../etc/passwd",
        "/.forebay/../../../../../../etc/passwd-",
        "http://169.254.169.254/latest/meta-data/",
        "s3://bucket/key",
    ],
)
def test_what_is_no_link_and_no_file(path: str, app: AppServer) -> None:
    assert app.get(path).status == 404


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://127.0.0.1:9/private", "not in the setting allowed_sources"),
        ("http://169.254.169.254/latest/meta-data/", "not in the setting allowed_sources"),
        ("minio://bucket/key", "not in the setting allowed_sources"),
        ("file:///etc/passwd", "which Forebay cannot fetch"),
        ("/etc/passwd", "not a media URI"),
    ],
)
def test_whatever_the_settings_do_not_allow_even_with_a_link(
    uri: str, why: str, app: AppServer, link: Callable[[str], str]
) -> None:
    reply = app.get(link(uri))
    assert reply.status in (403, 404)
    assert why in reply.body.decode()


def test_a_private_address_where_all_urls_are_allowed(signing_app: AppServer) -> None:
    made = signed_links.make(signing_key(signing_app.cache), "http://127.0.0.1:9/private", time.time())
    reply = signing_app.get(made)
    assert reply.status == 403
    assert b"leads to the private address 127.0.0.1" in reply.body


def test_an_object_that_is_not_there(app: AppServer, gallery: Gallery, link: Callable[[str], str]) -> None:
    reply = app.get(link(f"s3://{gallery.s3_bucket}/route/none.png"))
    assert reply.status == 404
    assert b"route/none.png" in reply.body


@pytest.mark.parametrize(
    "stage", ["none", "a harmless Mongo", "Mongo", "fiftyone.Mongo", "MapValues"], ids=str
)
def test_the_frames_of_a_view_get_links_only_as_they_are_stored(
    stage: str, app: AppServer, new_dataset: Callable[..., Any], imported_fiftyone: Any
) -> None:
    # given a frame with a mask, and a view that may name another one
    fo = imported_fiftyone
    sample = fo.Sample(filepath="s3://bucket/a.mp4")
    sample.frames[1] = fo.Frame(label=fo.Segmentation(mask_path="s3://bucket/mask.png"))
    dataset = new_dataset(sample)
    stored, chosen = "s3://bucket/mask.png", "s3://other/secret.png"
    put = {"$set": {"frames.label.mask_path": chosen}}
    views = {
        "none": [],
        "a harmless Mongo": dataset.mongo([{"$match": {}}])._serialize(),
        "Mongo": dataset.mongo([put])._serialize(),
        "fiftyone.Mongo": [{"_cls": "fiftyone.Mongo", "kwargs": [["pipeline", [put]]]}],
        "MapValues": dataset.map_values("frames.label.mask_path", {stored: chosen})._serialize(),
    }
    asked = {
        "dataset": dataset.name,
        "view": views[stage],
        "sampleId": dataset.first().id,
        "frameNumber": 1,
        "frameCount": 1,
        "numFrames": 1,
    }

    # when the front end asks for the frames
    request = urllib.request.Request(f"{app.url}/frames", json.dumps(asked).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        [frame] = json.load(response)["frames"]

    # then it gets a link, or none
    path = frame["label"]["mask_path"]
    expected = "/.forebay/v1." if stage in ("none", "a harmless Mongo") else chosen
    assert path.startswith(expected)


def test_local_files_are_served_as_without_forebay(app: AppServer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("local")
    reply = app.get(str(tmp_path / "a.txt"))
    assert (reply.status, reply.body) == (200, b"local")
    assert "Content-Security-Policy" not in reply.headers
    assert app.get(str(tmp_path / "none.txt")).status == 404
