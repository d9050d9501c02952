"""What paths of the file system stand for."""

from __future__ import annotations

import pytest

from forebay.errors import UriError
from forebay.fsspec.tree import Tree


@pytest.mark.parametrize(
    ("text", "path", "uri"),
    [
        ("forebay://s3/bucket/a/b.jpg", "s3/bucket/a/b.jpg", "s3://bucket/a/b.jpg"),
        ("forebay://s3://bucket/a/b.jpg", "s3/bucket/a/b.jpg", "s3://bucket/a/b.jpg"),
        ("forebay::s3://bucket/a/b.jpg", "s3/bucket/a/b.jpg", "s3://bucket/a/b.jpg"),
        ("s3://bucket/a//b c%20?#.jpg", "s3/bucket/a//b c%20?#.jpg", "s3://bucket/a//b c%20?#.jpg"),
        ("S3A://bucket/a", "s3/bucket/a", "s3://bucket/a"),
        ("gcs://bucket/a/", "gs/bucket/a", "gs://bucket/a"),
        ("/s3/bucket/a/", "s3/bucket/a", "s3://bucket/a"),
        ("az://box@account.blob.core.windows.net/a", "az/box@account.blob.core.windows.net/a", None),
        ("https://host/a/?sig=x/", "https/host/a/?sig=x/", "https://host/a/?sig=x/"),
    ],
)
def test_a_path_of_every_scheme(text: str, path: str, uri: str | None) -> None:
    tree = Tree()

    assert tree.path(text) == path
    assert tree.path(path) == path
    assert tree.uri(path) == (uri or text)
    assert tree.path(tree.full(path)) == path


@pytest.mark.parametrize(
    ("scheme", "text", "path", "uri"),
    [
        ("s3", "bucket/a", "bucket/a", "s3://bucket/a"),
        ("s3", "s3://bucket/a/", "bucket/a", "s3://bucket/a"),
        ("s3", "s3a://bucket/a", "bucket/a", "s3://bucket/a"),
        ("s3", "forebay://s3/bucket/a", "bucket/a", "s3://bucket/a"),
        # A bucket that has the name of a scheme is one all the same.
        ("s3", "minio/a", "minio/a", "s3://minio/a"),
        ("https", "https://host/a/", "host/a/", "https://host/a/"),
        ("https", "host/a/", "host/a/", "https://host/a/"),
        ("s3", "", "", "s3://"),
    ],
)
def test_a_path_of_one_scheme(scheme: str, text: str, path: str, uri: str) -> None:
    tree = Tree(scheme)

    assert tree.path(text) == path
    assert tree.path(path) == path
    assert tree.uri(path) == uri
    assert Tree().path(tree.full(path)) == f"{scheme}/{path}".rstrip("/" if scheme == "s3" else "")


def test_another_scheme_is_an_error_without_secrets() -> None:
    with pytest.raises(UriError) as raised:
        Tree("s3").path("https://user:secret@host/a?sig=secret")
    assert str(raised.value) == (
        "https://host/a?… is not one of s3://, for which this file system was made; "
        "fsspec.filesystem('forebay') takes every scheme"
    )


@pytest.mark.parametrize(
    "text", ["photos/a", "file:///etc/passwd", "/etc/passwd", "photos", "", "ftp://u:secret@h/a"]
)
def test_what_names_no_store_is_neither_read_nor_taken_for_a_directory(text: str) -> None:
    tree = Tree()
    path = tree.path(text)

    assert tree.schemes(path) == (() if text else ("s3", "gs", "minio", "az"))
    with pytest.raises(UriError, match="names no store that Forebay can fetch from; expected") as raised:
        tree.uri(path)
    assert "secret" not in str(raised.value)
    assert "forebay://s3/bucket/key, or one of gs, minio, az, http, https" in str(raised.value)
