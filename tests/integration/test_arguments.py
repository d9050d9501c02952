"""What callers pass: path objects, what is no URI, what is nearly one, and a cache to another process."""

from __future__ import annotations

import contextlib
import copy
import math
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import ConfigError, UriError, VolumeError
from forebay.uri import entry_of
from forebay.volume.absent_files import AbsentFiles
from forebay.volumes.absent import AbsentCache
from forebay.volumes.known_volumes import Volumes
from tests.caches import MakeCache
from tests.servers.http_server import HTTPServer


def test_path_objects_are_local_files(cache: MediaCache, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"pixels")

    assert cache.local_path(file) == str(file)
    assert cache.get_local_paths([file, str(file)]) == [str(file), str(file)]
    assert cache.open(file).read() == b"pixels"
    assert list(cache.download_context([file])) == [str(file)]


# Every operation that takes many URIs.
MANY: dict[str, Callable[[MediaCache, list[Any]], object]] = {
    "get_local_paths": lambda cache, uris: cache.get_local_paths(uris),
    "download_media": lambda cache, uris: cache.download_media(uris),
    "create_job": lambda cache, uris: cache.create_job(uris),
    "download_context": lambda cache, uris: cache.download_context(uris),
    "stats": lambda cache, uris: cache.stats(uris),
    "clear": lambda cache, uris: cache.clear(uris),
    "lease": lambda cache, uris: cache.lease(uris, 60),
}


@pytest.mark.parametrize("operation", MANY)
@pytest.mark.parametrize(
    ("wrong", "what"), [(None, "None"), (math.nan, "nan"), (7, "7"), (b"s3://b/k", "of type bytes")]
)
def test_what_is_no_uri_is_named_by_its_position(
    cache: MediaCache, operation: str, wrong: object, what: str
) -> None:
    with pytest.raises(UriError) as caught:
        MANY[operation](cache, ["s3://bucket/a", "s3://bucket/b", wrong, None])

    assert str(caught.value) == (
        f"the URI at position 2 (counted from 0) must be a string or a path object, and this is {what}"
    )


@pytest.mark.parametrize("name", [5, ["a"], object(), "\ud800", "evil\n\x1b[31mname", "x" * 201])
def test_a_lease_has_a_name_that_can_be_shown(cache: MediaCache, name: Any) -> None:
    with pytest.raises(ConfigError, match="is no name of a lease"):
        cache.lease(["s3://bucket/a"], "1h", name=name)

    assert cache.leases() == []


def test_what_is_no_configuration_is_refused(tmp_path: Path) -> None:
    for make in (MediaCache, Volumes):
        with pytest.raises(ConfigError, match="expected a MediaCacheConfig"):
            make(str(tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize("operation", MANY)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("s3://bucket/a.jpg", "expected a list of URIs, not one string: write ['s3://bucket/a.jpg']"),
        (b"s3://bucket/a.jpg", "expected a list of URIs, not one string: write ['s3://bucket/a.jpg']"),
        (Path("/a.jpg"), "expected a list of URIs, not one path object: write ['/a.jpg']"),
        (7, "expected a list of URIs, and this is 7"),
        (object(), "expected a list of URIs, and this is a value of the type object"),
    ],
)
def test_what_is_no_list_is_refused(cache: MediaCache, operation: str, wrong: Any, message: str) -> None:
    with pytest.raises(UriError) as caught:
        MANY[operation](cache, wrong)

    assert str(caught.value) == message


@pytest.mark.parametrize("wrong", [None, object(), (("s3://bucket/a.jpg",) for _ in range(1))])
def test_a_look_ahead_of_what_has_no_length_is_refused(cache: MediaCache, wrong: Any) -> None:
    with pytest.raises(UriError, match="expected a list with the URIs of each sample, and this is "):
        cache.look_ahead(wrong)


def test_a_sample_of_a_look_ahead_may_be_a_uri_and_what_is_none_fails_alone(
    make_cache: MakeCache, http_server: HTTPServer, tmp_path: Path
) -> None:
    # given samples that are one URI each, a path object, and what is no sample and no URI
    cache = make_cache(allowed_sources=[http_server.endpoint + "/"])
    first, second, third = (http_server.put(f"/{n}.bin", b"pixels") for n in range(3))
    file = tmp_path / "a.jpg"
    file.touch()
    samples: list[Any] = [first, (file,), None, [None, math.nan, second], third]

    # when a loop comes to the first of them, then the others are fetched meanwhile
    with contextlib.closing(cache.look_ahead(samples, batch_size=len(samples))) as ahead:
        assert ahead.path(0, first) == cache.local_path(first)
        ahead.wait(3)
        ahead.wait(2)
        ahead.wait(4)
        assert all(cache.engine.files.locate(entry_of(uri)) for uri in (second, third))

        # and what is none fails by itself
        assert ahead.path(1, file) == str(file)
        for wrong in (None, math.nan):
            with pytest.raises(UriError, match="must be a string or a path object, and this is"):
                ahead.path(3, wrong)  # type: ignore[arg-type]
            with (
                pytest.raises(UriError, match="must be a string or a path object, and this is"),
                ahead.reading(3, wrong),  # type: ignore[arg-type]
            ):
                pass
        assert ahead.path(4, third) == cache.local_path(third)


def test_a_single_one_that_is_no_uri_is_refused(cache: MediaCache) -> None:
    for operation in (cache.local_path, cache.open):
        with pytest.raises(UriError, match="must be a string or a path object, and this is None"):
            operation(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "s3:/bucket/a.jpg",
            "the URI has one slash after its scheme, as it has in a path object: write 's3://bucket/a.jpg', "
            "as a string",
        ),
        (
            PurePosixPath("gs://bucket/a.jpg"),
            "the URI has one slash after its scheme, as it has in a path object: write 'gs://bucket/a.jpg', "
            "as a string",
        ),
        (" s3://bucket/a.jpg", "the URI begins with white space: write 's3://bucket/a.jpg'"),
        (
            "\n\tHTTPS://user:secret@host/a?X-Amz-Signature=secret",
            "the URI begins with white space: write 'https://host/a?…'",
        ),
        ("\ufeffminio://bucket/a.jpg", "the URI begins with white space: write 'minio://bucket/a.jpg'"),
        (
            "https:/user:secret@host/a",
            "the URI has one slash after its scheme, as it has in a path object: write 'https://host/a', "
            "as a string",
        ),
    ],
)
def test_what_is_nearly_a_uri_is_no_local_path(cache: MediaCache, uri: Any, message: str) -> None:
    # given a URI with a slip, it is refused by its name
    with pytest.raises(UriError) as caught:
        cache.local_path(uri)
    assert str(caught.value) == message

    # and among others it fails alone
    [failure] = cache.download_media([uri]).failures()
    assert failure.reason == message


def _use_in_another_process(cache: MediaCache, uri: str) -> tuple[str, int]:
    return cache.local_path(uri), os.getpid()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_cache_goes_to_another_process(make_cache: MakeCache, http_server: HTTPServer, method: str) -> None:
    # given a cache in use
    cache = make_cache(allowed_sources=[http_server.endpoint + "/"])
    uris = [http_server.put(f"/{number}.bin", b"pixels") for number in range(2)]
    cache.local_path(uris[0])

    # when it, and one of its methods, are passed to processes that are not forked from this one
    with multiprocessing.get_context(method).Pool(1) as pool:
        path, process = pool.apply(_use_in_another_process, (cache, uris[1]))
        paths = pool.map(cache.local_path, uris)

    # then these use the same volume
    assert process != os.getpid()
    assert paths == [cache.local_path(uri) for uri in uris]
    assert path == paths[1]
    assert sum(request.method == "GET" for request in http_server.requests) == 2


def test_a_copy_of_a_cache_is_on_the_same_volume(cache: MediaCache) -> None:
    other = copy.deepcopy(cache)

    assert other.engine is not cache.engine
    assert other.config == cache.config
    other.close()


def test_a_copy_of_an_absent_cache_is_absent(cache: MediaCache) -> None:
    absent = AbsentCache(cache.config, AbsentFiles("node-7:/cache", "default"))

    with pytest.raises(VolumeError, match="node-7:/cache"):
        copy.deepcopy(absent).engine.files.locate(entry_of("s3://bucket/a"))
