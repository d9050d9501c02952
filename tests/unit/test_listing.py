"""What targets stand for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from forebay.errors import ObjectNotFoundError, TransientSourceError, UriError
from forebay.manifests.listing import expand, uris_below
from forebay.manifests.prefixes import Filter, check_target, is_prefix
from forebay.sources.base import ObjectInfo, PageQuery
from forebay.threads import map_in_threads
from forebay.uri import MediaURI


@dataclass
class Known:
    """A page that is known."""

    keys: Sequence[str]
    folders: Sequence[str] = ()
    token: str = ""

    def objects(self, root: str) -> list[ObjectInfo]:
        return [ObjectInfo(root + key, size=len(root + key)) for key in self.keys]


class Bucket:
    """A source that lists what it is given, two keys in a page."""

    def __init__(self, *uris: str) -> None:
        self._uris = uris
        self.asked: list[PageQuery] = []

    def for_uri(self, _: MediaURI) -> Bucket:
        return self

    def page(self, prefix: MediaURI, query: PageQuery) -> Known:
        self.asked.append(query)
        root = f"{prefix.scheme}://{prefix.bucket}/"
        keys = [uri.removeprefix(root) for uri in self._uris if uri.startswith(root + query.prefix)]
        at = int(query.token or 0)
        return Known(keys[at : at + 2], token=str(at + 2) if at + 2 < len(keys) else "")


def listed(bucket: Bucket, *targets: str, **filters: Any) -> list[str]:
    return expand(bucket, targets, Filter(**filters)).uris  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["s3://b", "s3://b/", "gs://b/a/", "minio://b/a b/", "S3://b/a/"])
def test_prefixes(target: str) -> None:
    assert is_prefix(target)
    check_target(target)


@pytest.mark.parametrize("target", ["s3://b/a", "https://h/a/", "http://h", "/data/", "data/"])
def test_no_prefixes(target: str) -> None:
    assert not is_prefix(target)


@pytest.mark.parametrize("target", ["s3://", "s3:///a", "s3:///", "ftp://b/a"])
def test_broken_targets(target: str) -> None:
    with pytest.raises(UriError):
        check_target(target)


def test_prefixes_are_listed_in_place() -> None:
    bucket = Bucket("s3://b/x/1", "s3://b/x/2", "s3://b/y/1")
    targets = ("s3://b/y/", "s3://c/a", "s3://b/x/", "/data/a")
    assert listed(bucket, *targets) == ["s3://b/y/1", "s3://c/a", "s3://b/x/1", "s3://b/x/2", "/data/a"]


def test_what_a_listing_tells_is_known() -> None:
    known = expand(Bucket("s3://b/a"), ["s3://b"]).known  # type: ignore[arg-type]
    assert known["s3://b/a"].size == len("s3://b/a")


def test_the_empty_objects_that_show_a_directory_are_left_out() -> None:
    assert listed(Bucket("s3://b/x/", "s3://b/x/1"), "s3://b/") == ["s3://b/x/1"]


def test_nothing_below_a_prefix_is_an_error() -> None:
    with pytest.raises(ObjectNotFoundError, match=r"^s3://b/z/: there is no object below it$"):
        listed(Bucket("s3://b/a"), "s3://b/z/")
    with pytest.raises(ObjectNotFoundError, match=r"^s3://b/: no object below it passes the filters$"):
        listed(Bucket("s3://b/a"), "s3://b/", include=["*.png"])


def test_what_is_found_is_known_at_once_and_prefixes_come_last() -> None:
    bucket = Bucket(*(f"s3://b/x/{number}" for number in range(8)))
    found = uris_below(bucket, ["s3://b/x/", "s3://c/a", "s3://d/b"])  # type: ignore[arg-type]
    assert next(found) == ["s3://c/a", "s3://d/b"]
    assert next(found) == ["s3://b/x/0", "s3://b/x/1"]
    assert [uri for uris in found for uri in uris] == [f"s3://b/x/{number}" for number in range(2, 8)]


def test_a_prefix_with_nothing_below_it_is_an_error_when_it_comes_to_it() -> None:
    found = uris_below(Bucket("s3://b/x/1"), ["s3://b/x/", "s3://b/y/"])  # type: ignore[arg-type]
    assert next(found) == ["s3://b/x/1"]
    with pytest.raises(ObjectNotFoundError, match="y/: there is no object below it"):
        next(found)


def test_pages_are_asked_for_again() -> None:
    class Flaky(Bucket):
        def page(self, prefix: MediaURI, query: PageQuery) -> Known:
            if self.asked.count(query) < 2:
                self.asked.append(query)
                raise TransientSourceError(prefix.redacted, "not now")
            return super().page(prefix, query)

    uris = [f"s3://b/{number}" for number in range(5)]
    assert expand(Flaky(*uris), ["s3://b/"], attempts=3).uris == uris  # type: ignore[arg-type]
    with pytest.raises(TransientSourceError):
        expand(Flaky(*uris), ["s3://b/"], attempts=2)  # type: ignore[arg-type]


KEYS = [f"s3://b/{key}" for key in ("a.jpg", "a.png", "train/a.jpg", "data/train/b.jpg", "mytrain/c.jpg")]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.jpg"], [], ["a.jpg", "train/a.jpg", "data/train/b.jpg", "mytrain/c.jpg"]),
        (["train/*"], [], ["train/a.jpg", "data/train/b.jpg"]),
        (["*.jpg"], ["train/*"], ["a.jpg", "mytrain/c.jpg"]),
        (["a.*"], ["*.jpg"], ["a.png"]),
        ([], ["*/*"], ["a.jpg", "a.png"]),
        (["[ab].jpg", "*.png"], [], ["a.jpg", "a.png", "train/a.jpg", "data/train/b.jpg"]),
    ],
)
def test_globs(include: list[str], exclude: list[str], expected: list[str]) -> None:
    found = listed(Bucket(*KEYS), "s3://b", include=include, exclude=exclude)
    assert [uri.removeprefix("s3://b/") for uri in found] == sorted(expected)
    # Objects that were named one by one are sorted out in the same way.
    assert sorted(listed(Bucket(), *KEYS, include=include, exclude=exclude)) == found


def test_threads_keep_the_order_and_pass_on_the_first_error() -> None:
    assert map_in_threads(lambda n: n * n, range(100), 8, "test") == [n * n for n in range(100)]
    begun: list[int] = []
    failed = threading.Event()

    def fail(number: int) -> None:
        begun.append(number)
        failed.set()
        raise UriError(f"number {number}")

    with pytest.raises(UriError, match="number"):
        map_in_threads(fail, range(1000), 4, "test")
    assert len(begun) <= 4
    assert map_in_threads(fail, [], 4, "test") == []
