"""Remote directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forebay.errors import SourceError
from tests.fiftyone.workflows.table import CLOUDS, GROUPS, IMAGES, MASKS, SCENES, VIDEOS, refused, works
from tests.fiftyone.workflows.test_6_export import IMAGE_FORMATS, VIDEO_FORMATS, exported, imported, type_of
from tests.fiftyone.workflows.twins import Twins, every_slice


def uploaded(twins: Twins, place: str, directory: Path, prefix: str) -> str:
    """Copies a local directory to a place; gives its URI."""
    name_another_directory(directory, twins.places.root(place) + prefix)
    twins.places.put_tree(place, directory, prefix)
    twins.before = twins.listing()
    return twins.places.root(place) + prefix


@works("`Dataset.from_images_dir()`, `from_videos_dir()` of a remote directory", IMAGES, VIDEOS)
def test_directory_of_media(twins: Twins, store: str, fo: Any) -> None:
    directory = uploaded(twins, store, media_of(twins), "all")
    load = fo.Dataset.from_images_dir if twins.kind == IMAGES else fo.Dataset.from_videos_dir

    dataset = load(directory, recursive=True)

    below = {f"{directory}/{path.relative_to(media_of(twins))}" for path in files(media_of(twins))}
    assert set(dataset.values("filepath")) == below
    assert dataset.media_type == ("image" if twins.kind == IMAGES else "video")
    assert twins.cache.stats()["current_count"] == 0
    assert Path(dataset.first().local_path).exists()


@works("`Dataset.from_images_patt()`, `from_videos_patt()`, `add_*_patt()` of remote files", IMAGES, VIDEOS)
def test_patterns_of_media(twins: Twins, store: str, fo: Any) -> None:
    directory = uploaded(twins, store, media_of(twins), "all")
    found = files(media_of(twins))
    depth = len(found[0].relative_to(media_of(twins)).parts)
    pattern = "/".join([directory, *["*"] * (depth - 1), f"*{found[0].suffix}"])
    of_all = f"from_{'images' if twins.kind == IMAGES else 'videos'}_patt"

    dataset = getattr(fo.Dataset, of_all)(pattern)
    added = fo.Dataset()
    getattr(added, of_all.replace("from", "add"))(pattern)

    expected = {f"{directory}/{path.relative_to(media_of(twins))}" for path in found}
    assert set(dataset.values("filepath")) == set(added.values("filepath")) == expected
    assert twins.cache.stats()["current_count"] == 0


def media_of(twins: Twins) -> Path:
    return twins.root / "local"


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@refused(
    "`Dataset.from_images_dir()` of a web server's directory",
    IMAGES,
    because="web servers do not tell what they hold: list the URLs, and use `from_images()`",
)
def test_directory_of_a_web_server(twins: Twins, fo: Any) -> None:
    with pytest.raises(SourceError, match="cannot be listed"):
        fo.Dataset.from_images_dir(twins.places.root("http") + "chelsea/")


@pytest.mark.parametrize("name", list(IMAGE_FORMATS))
@works("import of a remote `dataset_dir`, in every format: media stay where they are", IMAGES)
def test_import_of_images(twins: Twins, name: str) -> None:
    exported(twins.local, twins.directory, name)
    local = imported(twins.directory, name)
    directory = uploaded(twins, "s3", twins.directory, "dataset")

    remote = from_dir(directory, name)

    assert sorted(remote) == sorted(f"{directory}/{Path(p).relative_to(twins.directory)}" for p in local)
    assert twins.cache.stats(remote)["current_count"] == 0


@pytest.mark.parametrize("name", list(VIDEO_FORMATS))
@works("import of a remote `dataset_dir`, in every format: media stay where they are", VIDEOS)
def test_import_of_videos(twins: Twins, name: str) -> None:
    exported(twins.local, twins.directory, name)
    local = imported(twins.directory, name)
    directory = uploaded(twins, "gs", twins.directory, "dataset")

    remote = from_dir(directory, name)

    assert sorted(remote) == sorted(f"{directory}/{Path(p).relative_to(twins.directory)}" for p in local)


def from_dir(directory: str, name: str, **options: Any) -> list[str]:
    import fiftyone as fo

    dataset = fo.Dataset.from_dir(dataset_dir=directory, dataset_type=type_of(name), **options)
    return list(every_slice(dataset).values("filepath"))


@works("import of a remote `FiftyOneDataset`", IMAGES, GROUPS, MASKS, VIDEOS, CLOUDS, SCENES)
def test_import_of_a_whole_dataset(twins: Twins, store: str) -> None:
    exported(twins.local, twins.directory, "FiftyOneDataset")
    directory = uploaded(twins, store, twins.directory, "dataset")

    paths = from_dir(directory, "FiftyOneDataset")

    assert len(paths) == len(every_slice(twins.local))
    assert all(path.startswith(f"{directory}/data/") for path in paths)


@pytest.mark.parametrize("name", list(IMAGE_FORMATS))
@works("export to a remote `export_dir`, in every format", IMAGES)
def test_export_of_images(twins: Twins, name: str) -> None:
    exported(twins.local, twins.directory / "local", name)
    directory = f"s3://{twins.places.s3_bucket}/exported"

    exported(twins.remote, directory, name)  # type: ignore[arg-type]

    paths = imported(twins.directory / "local", name)
    assert_same_files(twins, "exported/", twins.directory / "local")
    assert set(from_dir(directory, name)) == {
        f"{directory}/{Path(path).relative_to(twins.directory / 'local')}" for path in paths
    }
    forget(twins, "exported/")


@works("import of labels that have changed since they were imported last", IMAGES)
def test_labels_are_read_as_they_are_now(twins: Twins) -> None:
    exported(twins.local, twins.directory, "COCODetectionDataset")
    directory = uploaded(twins, "s3", twins.directory, "dataset")
    assert len(from_dir(directory, "COCODetectionDataset")) == 12

    labels = json.loads((twins.directory / "labels.json").read_text())
    labels["images"], labels["annotations"] = labels["images"][:2], []
    (twins.directory / "labels.json").write_text(json.dumps(labels))
    uploaded(twins, "s3", twins.directory, "dataset")

    assert len(from_dir(directory, "COCODetectionDataset")) == 2


@works("export to a remote `export_dir`, in every format", VIDEOS)
def test_export_of_videos(twins: Twins) -> None:
    exported(twins.local, twins.directory / "local", "FiftyOneVideoLabelsDataset")

    directory = f"s3://{twins.places.s3_bucket}/exported"
    exported(twins.remote, directory, "FiftyOneVideoLabelsDataset")  # type: ignore[arg-type]

    assert_same_files(twins, "exported/", twins.directory / "local")
    forget(twins, "exported/")


@works("`FiftyOneDataset` to a remote `export_dir`", IMAGES, GROUPS, MASKS, VIDEOS, CLOUDS, SCENES)
def test_export_of_a_whole_dataset(twins: Twins, store: str) -> None:
    exported(twins.local, twins.directory / "local", "FiftyOneDataset")
    directory = f"{twins.places.root(store)}exported"

    exported(twins.remote, directory, "FiftyOneDataset")  # type: ignore[arg-type]

    there = twins.places.written(store, "exported/")
    assert set(there) == {str(path.relative_to(twins.directory / "local")) for path in files(twins.directory)}
    assert len(json.loads(there["samples.json"])["samples"]) == len(every_slice(twins.remote))
    forget(twins, "exported/", store)


@works("export to a remote `export_dir` that holds something: merged, with FiftyOne's warning", IMAGES)
def test_export_to_where_something_lies(twins: Twins, store: str, caplog: pytest.LogCaptureFixture) -> None:
    directory = f"{twins.places.root(store)}exported"
    said = f"Directory '{directory}' already exists; export will be merged with existing files"

    exported(twins.remote, directory, "ImageDirectory")  # type: ignore[arg-type]
    assert said not in caplog.messages
    exported(twins.remote, directory, "ImageDirectory")  # type: ignore[arg-type]
    assert caplog.messages.count(said) == 1
    forget(twins, "exported/", store)


@works("export to a remote archive", IMAGES)
def test_export_to_an_archive(twins: Twins, store: str) -> None:
    exported(twins.remote, f"{twins.places.root(store)}all.zip", "ImageDirectory")  # type: ignore[arg-type]

    [archive] = twins.places.written(store, "all.zip").values()
    assert archive.startswith(b"PK")
    forget(twins, "all.zip", store)


def assert_same_files(twins: Twins, prefix: str, directory: Path) -> None:
    there = twins.places.written("s3", prefix)
    copies = twins.directory / "there"
    for name, content in there.items():
        (copies / name).parent.mkdir(parents=True, exist_ok=True)
        (copies / name).write_bytes(content)
    target = f"s3://{twins.places.s3_bucket}/{prefix}".rstrip("/")
    name_another_directory(directory, target)
    assert twins.tree(copies) == twins.tree(directory)


def name_another_directory(directory: Path, target: str) -> None:
    """Some formats name the directory that they were written to."""
    for path in files(directory):
        if path.suffix in (".yaml", ".xml", ".json"):
            path.write_text(path.read_text().replace(str(directory), target))


def forget(twins: Twins, prefix: str, store: str = "s3") -> None:
    """The objects that a test writes are not among those that must stay unchanged."""
    written = f"{store} {prefix}"
    assert {key: value for key, value in twins.listing().items() if not key.startswith(written)} == (
        twins.before
    )
    twins.before = twins.listing()


@refused(
    'export to a remote `export_dir` with `overwrite=True` or `export_media="move"`',
    IMAGES,
    because="an export deletes nothing remote, and moves nothing to there",
)
def test_exports_that_delete(twins: Twins) -> None:
    target = f"s3://{twins.places.s3_bucket}/exported"

    with pytest.raises(ValueError, match=r"call fos\.delete_dir\(\) before it, and leave out overwrite=True"):
        exported(twins.remote, target, "ImageDirectory", overwrite=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="use export_media=True, which copies it"):
        exported(twins.remote, target, "ImageDirectory", export_media="move")  # type: ignore[arg-type]


@refused(
    "export with a remote `data_path`, or through an exporter with remote paths",
    IMAGES,
    because="pass the remote directory as `export_dir=`, with `dataset_type=`",
)
def test_exports_by_parts(twins: Twins) -> None:
    import fiftyone as fo
    import fiftyone.utils.data as foud

    target = f"s3://{twins.places.s3_bucket}/exported"

    with pytest.raises(ValueError, match=r"cannot export to s3://.*/exported by data_path: pass the"):
        twins.remote.export(
            data_path=target,
            labels_path=str(twins.directory / "labels.json"),
            dataset_type=fo.types.COCODetectionDataset,
            label_field="ground_truth",
        )
    with pytest.raises(ValueError, match="by export_dir: pass the remote directory as export_dir="):
        twins.remote.export(dataset_exporter=foud.ImageDirectoryExporter(export_dir=target))


@refused("`from_archive()` of a remote archive", IMAGES, because="copy it with `fos.copy_file()` first")
def test_import_of_an_archive(twins: Twins, fo: Any) -> None:
    archive = f"s3://{twins.places.s3_bucket}/all.zip"

    with pytest.raises(ValueError, match=r"copy it to a local directory with fos\.copy_file\(\) first"):
        fo.Dataset.from_archive(archive, dataset_type=fo.types.ImageDirectory)
