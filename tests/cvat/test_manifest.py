"""Manifests of images, made without downloading them."""

from __future__ import annotations

import json
import multiprocessing
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.cvat import create_manifest
from forebay.cvat.manifest_format import ManifestImage, read_images
from forebay.errors import ManifestError, UriError
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.cvat.images import image, nested_photographs
from tests.servers.gcs import GCSServer
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server

HEADERS = [{"version": "1.1"}, {"type": "images"}]


def read(server: S3Server, bucket: str, key: str = "manifest.jsonl") -> list[Any]:
    body = server.client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return [json.loads(line) for line in body.decode().splitlines()]


@pytest.mark.usefixtures("s3_environment")
def test_five_thousand_photographs_cost_a_tenth_of_their_bytes(
    s3_server: S3Server,
    s3_bucket: str,
    s3_proxy: Proxy,
    make_cache: MakeCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Issue 6, 2: nested directories, spaces, unicode, EXIF rotation.

    The lines are read by our own reader, and by the stand-in in other tests. CVAT's own cannot be installed:
    cvat-sdk has none, and the one in CVAT's sources (utils/dataset_manifest) has no package.
    """
    photos = list(nested_photographs(5000))
    s3_server.put_many(s3_bucket, {key: content for key, content, _ in photos})
    total = sum(len(content) for _, content, _ in photos)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)

    made = create_manifest(f"s3://{s3_bucket}/", cache=make_cache())
    transferred = sum(request.sent for request in s3_proxy.requests)

    assert (made.added, made.failed, made.ignored) == (5000, 0, 0)
    assert transferred < total / 10, f"{transferred:,} of {total:,} bytes"
    body = s3_server.client.get_object(Bucket=s3_bucket, Key="manifest.jsonl")["Body"].read()
    found = {
        i.name: (i.width, i.height) for i in read_images(body.splitlines(keepends=True), "manifest.jsonl")
    }
    assert found == {key: size for key, _, size in photos}


@pytest.mark.usefixtures("s3_environment")
def test_the_lines_are_as_cvat_writes_them(s3_server: S3Server, s3_bucket: str, cache: MediaCache) -> None:
    s3_server.put(s3_bucket, "images/sub/c.jpg", image(32, 24))
    s3_server.put(s3_bucket, "images/sub/turned.jpg", image(32, 24, orientation=6))
    s3_server.put(s3_bucket, "images/sub/turned.png", image(32, 24, orientation=8, format="PNG"))
    s3_server.put(s3_bucket, "images/sub/upside down.webp", image(32, 24, orientation=3, format="WEBP"))
    s3_server.put(s3_bucket, "images/readme.txt", b"no image")

    made = create_manifest(f"s3://{s3_bucket}/images/", cache=cache)

    assert made.path == f"s3://{s3_bucket}/manifest.jsonl"
    assert (made.added, made.ignored) == (4, 1)
    assert read(s3_server, s3_bucket) == [
        *HEADERS,
        {"name": "images/sub/c", "extension": ".jpg", "width": 32, "height": 24},
        {"name": "images/sub/turned", "extension": ".jpg", "width": 24, "height": 32},
        {"name": "images/sub/turned", "extension": ".png", "width": 24, "height": 32},
        {"name": "images/sub/upside down", "extension": ".webp", "width": 32, "height": 24},
    ]


@pytest.mark.usefixtures("gcs_environment")
def test_in_gcs_beside_the_media(gcs_server: GCSServer, gcs_bucket: str, cache: MediaCache) -> None:
    gcs_server.put(gcs_bucket, "images/a.jpg", image(32, 24))

    made = create_manifest(f"gs://{gcs_bucket}/", f"gs://{gcs_bucket}/images/", cache=cache)

    assert made.path == f"gs://{gcs_bucket}/images/manifest.jsonl"
    with cache.open(made.path) as file:
        assert [image.name for image in read_images(file, "it")] == ["a.jpg"]


@pytest.mark.usefixtures("s3_environment")
def test_what_is_new_is_added_and_nothing_read_twice(
    s3_server: S3Server,
    s3_bucket: str,
    s3_proxy: Proxy,
    make_cache: MakeCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a manifest, when there is one more image, then that alone is read, and the lines stay."""
    s3_server.put(s3_bucket, "b.jpg", image(32, 24))
    cache = make_cache()
    create_manifest(f"s3://{s3_bucket}/", cache=cache)
    s3_server.put(s3_bucket, "a.jpg", image(16, 8))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)

    made = create_manifest(f"s3://{s3_bucket}/", cache=make_cache())
    again = create_manifest(f"s3://{s3_bucket}/", cache=make_cache())

    assert (made.added, made.kept) == (1, 1)
    assert (again.added, again.kept) == (0, 2)
    assert [line["name"] for line in read(s3_server, s3_bucket)[2:]] == ["b", "a"]
    assert not [request for request in s3_proxy.requests if "b.jpg" in request.path]


@pytest.mark.usefixtures("s3_environment")
def test_what_is_no_longer_there_is_told_and_left_out_anew(
    s3_server: S3Server, s3_bucket: str, forebay: Forebay
) -> None:
    # Given a manifest of three images, one of them in another directory
    for key in ("in/a.jpg", "in/b.jpg", "out/c.jpg"):
        s3_server.put(s3_bucket, key, image(32, 24))
    forebay("cvat", "manifest", f"s3://{s3_bucket}/")
    # When two are deleted, and there is a new one
    for key in ("in/a.jpg", "out/c.jpg"):
        s3_server.delete(s3_bucket, key)
    s3_server.put(s3_bucket, "in/d.jpg", image(32, 24))
    path = f"s3://{s3_bucket}/manifest.jsonl"

    # Then it is told of those of the directory that is looked at,
    one = forebay("cvat", "manifest", f"s3://{s3_bucket}/in/")
    assert (one.status, one.lines) == (0, [f"{path}: 1 added, 3 were already listed"])
    assert one.error_lines == [
        "warning: 1 image of the manifest was deleted from the bucket; --anew removes it"
    ]
    both = forebay("cvat", "manifest", f"s3://{s3_bucket}/")
    assert both.error_lines == [
        "warning: 2 images of the manifest were deleted from the bucket; --anew removes them"
    ]
    assert len(read(s3_server, s3_bucket)) == 2 + 4

    # and nothing when images are named one by one; anew, they are not in it.
    assert forebay("cvat", "manifest", f"s3://{s3_bucket}/in/d.jpg").err == ""
    anew = forebay("cvat", "manifest", f"s3://{s3_bucket}/", "--anew")
    assert (anew.lines, anew.err) == ([f"{path}: 2 added"], "")


@pytest.mark.usefixtures("s3_environment")
def test_anew(s3_server: S3Server, s3_bucket: str, cache: MediaCache) -> None:
    s3_server.put(s3_bucket, "a.jpg", image(32, 24))
    create_manifest(f"s3://{s3_bucket}/", cache=cache)
    s3_server.put(s3_bucket, "a.jpg", image(16, 8))

    made = create_manifest(f"s3://{s3_bucket}/", update=False, cache=cache)

    assert (made.added, made.kept) == (1, 0)
    assert read(s3_server, s3_bucket)[2]["width"] == 16


@pytest.mark.usefixtures("s3_environment")
def test_a_local_file_for_a_directory_of_the_bucket(
    s3_server: S3Server, s3_bucket: str, cache: MediaCache, tmp_path: Path
) -> None:
    uri = s3_server.put(s3_bucket, "images/a.jpg", image(32, 24))
    output = tmp_path / "new" / "manifest.jsonl"

    create_manifest([uri, uri], str(output), root=f"s3://{s3_bucket}/images/", cache=cache)

    assert list(read_images(output.read_bytes().splitlines(), "it")) == [ManifestImage("a.jpg", 32, 24)]


@pytest.mark.usefixtures("s3_environment")
def test_what_cannot_be_read_is_left_out_and_named(
    s3_server: S3Server, s3_bucket: str, cache: MediaCache
) -> None:
    s3_server.put(s3_bucket, "a.jpg", image(32, 24))
    s3_server.put(s3_bucket, "broken.jpg", b"not an image at all")

    made = create_manifest([f"s3://{s3_bucket}/", f"s3://{s3_bucket}/gone.jpg"], cache=cache)

    assert (made.added, made.failed) == (1, 2)
    broken, gone = sorted(made.failures)
    assert broken == (
        f"s3://{s3_bucket}/broken.jpg",
        "not an image that Pillow knows (UnidentifiedImageError)",
    )
    assert gone[0] == f"s3://{s3_bucket}/gone.jpg"


@pytest.mark.usefixtures("s3_environment")
def test_outside_the_directory_of_the_manifest(
    s3_server: S3Server, s3_bucket: str, cache: MediaCache
) -> None:
    s3_server.put(s3_bucket, "a.jpg", image(32, 24))
    with pytest.raises(UriError) as raised:
        create_manifest(f"s3://{s3_bucket}/", f"s3://{s3_bucket}/deep/manifest.jsonl", cache=cache)
    assert str(raised.value) == (
        f"s3://{s3_bucket}/a.jpg is outside s3://{s3_bucket}/deep/, the directory of the manifest, which "
        f"names only what is below it; write it to s3://{s3_bucket}/manifest.jsonl"
    )


@pytest.mark.usefixtures("s3_environment")
def test_nothing_to_make_one_of(s3_server: S3Server, s3_bucket: str, cache: MediaCache) -> None:
    s3_server.put(s3_bucket, "a.txt", b"no image")
    with pytest.raises(ManifestError) as raised:
        create_manifest(f"s3://{s3_bucket}/", cache=cache)
    why = "there is no image, so there is nothing to make a manifest of"
    assert str(raised.value) == f"s3://{s3_bucket}/: {why}"
    with pytest.raises(ManifestError) as raised:
        create_manifest([f"s3://{s3_bucket}/b/", f"s3://{s3_bucket}/c/"], cache=cache)
    assert str(raised.value) == f"s3://{s3_bucket}/b/ and 1 more: {why}"


@pytest.mark.usefixtures("s3_environment")
def test_keys_that_cvat_does_not_accept(s3_server: S3Server, s3_bucket: str, cache: MediaCache) -> None:
    s3_server.put(s3_bucket, "a.jpg", image(32, 24))
    root = f"s3://{s3_bucket}/"

    made = create_manifest([root, f"{root}a//b.jpg", f"{root}/b.jpg", f"{root}a/../b.jpg"], cache=cache)

    why = "CVAT does not accept a key with an empty part, '.' or '..' between slashes; copy it to another key"
    assert made.added == 1
    assert sorted(made.failures) == [(f"{root}{key}", why) for key in ("/b.jpg", "a/../b.jpg", "a//b.jpg")]
    with pytest.raises(UriError) as raised:
        create_manifest(root, f"{root}a//manifest.jsonl", cache=cache)
    assert str(raised.value) == (
        f"'{root}a//manifest.jsonl' has an empty part, '.' or '..' between its slashes, which CVAT does not "
        f"accept: write the manifest elsewhere"
    )


@pytest.mark.usefixtures("s3_environment")
def test_context_images_are_left_out(s3_server: S3Server, s3_bucket: str, forebay: Forebay) -> None:
    """CVAT shows them beside others: below a prefix they are expected, and named one by one they are not."""
    s3_server.put(s3_bucket, "a.jpg", image(32, 24))
    context = s3_server.put(s3_bucket, "related_images/a_jpg/c.jpg", image(8, 8))

    done = forebay("cvat", "manifest", f"s3://{s3_bucket}/")

    assert (done.status, done.lines) == (0, [f"s3://{s3_bucket}/manifest.jsonl: 1 added"])
    assert done.error_lines == [
        "1 image in related_images/ is left out: CVAT shows them beside others, not as frames"
    ]
    named = forebay("cvat", "manifest", context)
    assert (named.status, named.error_lines[0]) == (
        1,
        f"warning: {context}: CVAT shows the images in related_images/ beside others, not as frames; copy it "
        f"to another directory",
    )
    alone = forebay("cvat", "manifest", f"s3://{s3_bucket}/related_images/")
    assert alone.err == (
        f"error: s3://{s3_bucket}/related_images/: there is no image outside of related_images/, so there is "
        f"nothing to make a manifest of\n"
    )


@pytest.mark.usefixtures("s3_environment")
def test_a_manifest_is_replaced_by_one_of_a_later_second(
    s3_server: S3Server, s3_bucket: str, cache: MediaCache
) -> None:
    """CVAT reads it again only if it was modified later, in whole seconds, than CVAT read it: before now."""
    s3_server.put(s3_bucket, "a.jpg", image(32, 24))
    create_manifest(f"s3://{s3_bucket}/", cache=cache)
    read_by_cvat = time.time()

    create_manifest(f"s3://{s3_bucket}/", update=False, cache=cache)

    head = s3_server.client.head_object(Bucket=s3_bucket, Key="manifest.jsonl")
    assert head["LastModified"].timestamp() > read_by_cvat


VERSION, TYPE = b'{"version":"1.1"}', b'{"type":"images"}'
LINE = b'{"name":"a","extension":".jpg","width":1,"height":1}'


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([VERSION, TYPE, LINE, b"", LINE], "m, line 4: it is empty, which CVAT does not skip"),
        (
            [b"\xef\xbb\xbf" + VERSION, TYPE, LINE],
            "m, line 1: it begins with a byte order mark, which CVAT does not skip",
        ),
        ([VERSION + TYPE, LINE], "m, line 1: not valid JSON (Extra data: line 1 column 18 (char 17))"),
        ([b'{"version":"2"}'], 'm, line 1: expected {"version":"1.1"}, alone on its line'),
        ([VERSION, LINE], 'm, line 2: expected {"type":"images"}, alone on its line'),
        (
            [VERSION, TYPE, b'{"name":"a","extension":".jpg","width":"1","height":1}'],
            "m, line 3: an image needs its width and height, in pixels, as whole numbers",
        ),
        ([VERSION, TYPE, b'{"name":"a"}'], "m, line 3: an image needs a name and an extension"),
        ([VERSION, TYPE], "m names no image"),
        ([VERSION, TYPE, b"", b""], "m names no image"),
        ([VERSION, b"", TYPE, LINE], "m, line 2: it is empty, which CVAT does not skip"),
        ([], "m names no image"),
    ],
)
def test_what_cvat_refuses_is_refused(lines: list[bytes], why: str) -> None:
    """The rules of CVAT.md, which a running server has shown."""
    with pytest.raises(ManifestError) as raised:
        list(read_images(lines, "m"))
    assert str(raised.value) == why


def test_what_cvat_takes_is_taken() -> None:
    given = [
        b'{"version":"1.0"}\r\n',
        TYPE + b"\r\n",
        '{"name":"früh am Morgen","extension":".jpg","width":1,"height":2,"meta":{}}\r\n'.encode(),
        b'{"name":"\\u732b.jpg","extension":"","width":3,"height":4}\n',
        b"\n",
        b" \r\n",
    ]
    assert list(read_images(given, "m")) == [
        ManifestImage("früh am Morgen.jpg", 1, 2),
        ManifestImage("猫.jpg", 3, 4),
    ]


@pytest.mark.usefixtures("s3_environment")
def test_the_command(s3_server: S3Server, s3_bucket: str, forebay: Forebay) -> None:
    s3_server.put(s3_bucket, "images/a.jpg", image(32, 24))
    s3_server.put(s3_bucket, "images/broken.jpg", b"broken")
    s3_server.put(s3_bucket, "images/a.txt", b"no image")

    done = forebay("cvat", "manifest", f"s3://{s3_bucket}/images/", "-o", f"s3://{s3_bucket}/images/")

    assert (done.status, done.lines) == (1, [f"s3://{s3_bucket}/images/manifest.jsonl: 1 added"])
    assert done.error_lines == [
        f"warning: s3://{s3_bucket}/images/broken.jpg: not an image that Pillow knows "
        f"(UnidentifiedImageError)",
        "warning: 1 image could not be read, and is not in the manifest",
        "1 object below the prefix is no image, by its name",
    ]
    assert read(s3_server, s3_bucket, "images/manifest.jsonl")[2]["name"] == "a"


class Many:
    """As much of a FiftyOne collection as a manifest is made of, with as many samples as you like."""

    media_type = "image"

    def __init__(self, count: int) -> None:
        self._count = count

    def has_field(self, _: str) -> bool:
        return True

    def select_fields(self, _: Any) -> Many:
        return self

    def iter_samples(self) -> Iterator[Any]:
        metadata = SimpleNamespace(width=640, height=480)
        for i in range(self._count):
            yield SimpleNamespace(filepath=f"s3://photos/images/{i:08}.jpg", metadata=metadata)


def peaks_of_memory(directory: Path, *counts: int) -> list[int]:
    """The most bytes that Python held while a manifest of so many images was made, one after the other."""
    output, peaks = str(directory / "manifest.jsonl"), []
    with closing(MediaCache(MediaCacheConfig(cache_dir=str(directory / "cache")))) as cache:
        create_manifest(Many(10), str(directory / "warm.jsonl"), cache=cache)
        for count in counts:
            tracemalloc.start()
            create_manifest(Many(count), output, cache=cache)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    return peaks


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """Neither when a manifest is made, nor when it is read again to see what is new."""
    # In a process of its own, as the memory of other tests' threads would count, too.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        few, more, again = process.submit(peaks_of_memory, tmp_path, 5_000, 30_000, 30_000).result()

    # A list of them would take 100 bytes and more for each.
    assert more - few < 25_000 * 60
    assert again - few < 25_000 * 60
    assert (tmp_path / "manifest.jsonl").read_bytes().count(b"\n") == 30_002
