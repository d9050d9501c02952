"""Files made of remote ones stay below their output directory, whatever the remote names are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.fiftyone.places import Places


@pytest.mark.parametrize(
    "key", ["/etc/passwd", "../../etc/passwd", "a/../../../etc/passwd", "a//b.jpg", "..", "a/.", ""]
)
def test_a_uri_relative_to_a_directory_cannot_lead_out_of_another(fo: Any, key: str) -> None:
    from forebay.fiftyone import uripaths

    below = uripaths.relpath(f"s3://bucket/base/{key}", "s3://bucket/base/")

    assert os.path.normpath(os.path.join("/out", below)) == os.path.join("/out", below)
    assert os.path.join("/out", below).startswith("/out/")


def test_ordinary_names_stay(fo: Any) -> None:
    from forebay.fiftyone import uripaths

    assert uripaths.relpath("s3://bucket/base/a/b c.jpg", "s3://bucket/base") == "a/b c.jpg"
    assert uripaths.relpath("s3://bucket/base2/a.jpg", "s3://bucket/base") == "s3://bucket/base2/a.jpg"


@pytest.fixture
def hostile(fo: Any, places: Places, photos: dict[str, bytes], tmp_path: Path) -> Any:
    """A dataset of one photograph; its URL, without the directory, is an absolute path of this machine."""
    url = places.put("http", f"photos/{tmp_path}/stolen/hostile.jpg", next(iter(photos.values())))
    return fo.Dataset.from_images([url])


def test_export(fo: Any, hostile: Any, places: Places, tmp_path: Path) -> None:
    out = tmp_path / "out"

    hostile.export(
        export_dir=str(out), dataset_type=fo.types.ImageDirectory, rel_dir=places.root("http") + "photos"
    )

    assert [path.name for path in out.rglob("*.jpg")] == ["hostile.jpg"]
    assert not (tmp_path / "stolen").exists()


def test_transformed_images(fo: Any, hostile: Any, places: Places, tmp_path: Path) -> None:
    import fiftyone.utils.image as foui

    out = tmp_path / "out"
    root = places.root("http") + "photos"

    foui.transform_images(
        hostile, size=(8, 8), output_dir=str(out), rel_dir=root, update_filepaths=False, num_workers=1
    )

    assert [path.name for path in out.rglob("*.jpg")] == ["hostile.jpg"]
    assert not (tmp_path / "stolen").exists()
