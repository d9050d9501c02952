"""Installing Forebay leaves the protocols of others to those that have them."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import NoReturn

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from forebay.fsspec import chained


@pytest.fixture(autouse=True)
def _forget_classes() -> None:
    chained._class_of.cache_clear()


def test_a_protocol_is_that_of_its_package_where_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("s3fs")
    package.S3FileSystem = LocalFileSystem  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "s3fs", package)

    assert chained.s3 is LocalFileSystem


def test_a_protocol_is_that_of_another_package_which_has_an_entry_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(**_: str) -> EntryPoints:
        values = ("forebay.fsspec.chained:az", "fsspec.implementations.memory:MemoryFileSystem")
        return EntryPoints(EntryPoint("az", value, "fsspec.specs") for value in values)

    monkeypatch.setattr(chained, "entry_points", found)

    assert chained.az is MemoryFileSystem


@pytest.mark.parametrize(
    ("protocol", "path", "told"),
    [
        ("gcs", "bucket/a", "gcs:// needs the package gcsfs; "),
        ("abfss", "bucket/a", "abfss:// needs the package adlfs; "),
        ("minio", "bucket/a", "minio:// is no protocol of fsspec's own; "),
        ("https", "https://bucket/a", "https:// needs the package aiohttp; "),
    ],
)
def test_without_its_package_a_protocol_can_only_end_a_chain(
    monkeypatch: pytest.MonkeyPatch, protocol: str, path: str, told: str
) -> None:
    for package in ("gcsfs", "adlfs", "fsspec.implementations.http"):
        monkeypatch.setitem(sys.modules, package, None)
    only_strips = getattr(chained, protocol)

    assert only_strips._strip_protocol(f"{protocol}://bucket/a") == path
    with pytest.raises(ImportError, match=told):
        only_strips()


def test_a_package_that_lacks_one_of_its_own_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chained, "import_module", _lacks_botocore)

    with pytest.raises(ImportError, match="s3:// needs the package s3fs; ") as raised:
        chained.s3()

    assert str(raised.value.__cause__) == "No module named 'botocore'"


def _lacks_botocore(name: str) -> NoReturn:
    raise ModuleNotFoundError("No module named 'botocore'")


def test_every_entry_point_is_there() -> None:
    ours = {entry.name: entry.value for entry in _entry_points() if entry.module.startswith("forebay.")}

    assert ours == {
        "forebay": "forebay.fsspec.filesystem:ForebayFileSystem",
        **{name: f"forebay.fsspec.chained:{name}" for name in chained._OWN},
    }
    assert fsspec.get_filesystem_class("forebay").protocol == "forebay"
    with pytest.raises(AttributeError):
        chained.ftp  # noqa: B018


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points

    return entry_points(group="fsspec.specs")
