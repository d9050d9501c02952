"""Media that are brought into a bucket, and URLs for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from forebay.cache import MediaCache
from forebay.errors import ConfigError, ForebayError, SourceError
from tests.fiftyone.made_datasets import dataset_of
from tests.fiftyone.places import Places


@pytest.fixture
def dataset(fo: Any, photo_paths: list[Path]) -> Any:
    """Twelve local photographs, in subfolders, some of which have the same file name."""
    return dataset_of(fo, photo_paths)


class TestUploadMedia:
    def test_gives_the_remote_paths_in_order(self, fos: Any, dataset: Any, cloud: str):
        local = dataset.values("filepath")

        paths = fos.upload_media(dataset, cloud)

        assert dataset.values("filepath") == local
        assert len(set(paths)) == len(local), "the same file name twice makes two files"
        assert sorted(paths) == sorted(fos.list_files(cloud, abs_paths=True))
        for path, original in zip(paths, local, strict=True):
            assert fos.read_file(path, binary=True) == Path(original).read_bytes()

    def test_keeps_subfolders(self, fos: Any, dataset: Any, cloud: str, photo_paths: list[Path]):
        top = Path(fos.commonpath(map(str, photo_paths)))

        paths = fos.upload_media(dataset, cloud + "/", rel_dir=str(top))

        assert paths == [f"{cloud}/{path.relative_to(top).as_posix()}" for path in photo_paths]

    def test_updates_the_samples(self, fos: Any, dataset: Any, cloud: str):
        view = dataset.limit(5)

        paths = fos.upload_media(view, cloud, update_filepaths=True)

        assert view.values("filepath") == paths
        assert [fos.is_local(path) for path in dataset.values("filepath")] == [False] * 5 + [True] * 7
        assert Path(dataset.first().local_path).read_bytes() == fos.read_file(paths[0], binary=True)
        # A second time, there is nothing to do
        assert fos.upload_media(view, cloud, update_filepaths=True) == paths

    def test_what_stays_there_keeps_its_name(self, fo: Any, fos: Any, cloud: str, tmp_path: Path):
        # Given a dataset with a remote photograph, and a local one of the same name
        fos.write_file("remote", f"{cloud}/a.jpg")
        (tmp_path / "a.jpg").write_text("local")
        dataset = fo.Dataset()
        dataset.add_samples(
            [fo.Sample(filepath=str(tmp_path / "a.jpg")), fo.Sample(filepath=f"{cloud}/a.jpg")]
        )

        # When its media are uploaded into the folder of the remote one
        paths = fos.upload_media(dataset, cloud)

        # Then neither is taken for the other
        assert paths == [f"{cloud}/a-2.jpg", f"{cloud}/a.jpg"]
        assert fos.read_files(paths) == ["local", "remote"]

    def test_uploads_again_what_is_there_only_when_told(self, fos: Any, dataset: Any, cloud: str):
        paths = fos.upload_media(dataset, cloud)
        fos.write_file("something else", paths[0])

        fos.upload_media(dataset, cloud)
        assert fos.read_file(paths[0]) == "something else"

        fos.upload_media(dataset, cloud, overwrite=True)
        assert fos.read_file(paths[0], binary=True) == Path(dataset.first().filepath).read_bytes()

    def test_can_fill_the_cache(self, fos: Any, dataset: Any, cloud: str, media_cache: MediaCache):
        fos.upload_media(dataset, cloud, update_filepaths=True, cache=True)

        assert media_cache.stats(dataset.values("filepath"))["current_count"] == 12

    def test_gives_each_path_where_the_collection_has_it(self, fo: Any, fos: Any, cloud: str, tmp_path: Path):
        # Given samples in an order of their own, two with one file, one without a mask
        names = ["c.png", "a.png", "b.png", "a.png"]
        for name in set(names):
            (tmp_path / name).write_text(name)
        dataset = fo.Dataset()
        dataset.add_samples(
            [
                fo.Sample(
                    filepath=str(tmp_path / f"{n}.jpg"),
                    mask=fo.Segmentation(mask_path=name and str(tmp_path / name)),
                    rank=-n,
                )
                for n, name in enumerate([*names, None])
            ]
        )
        view = dataset.sort_by("rank")

        paths = fos.upload_media(view, cloud, media_field="mask.mask_path")

        assert view.values("rank") == [-4, -3, -2, -1, 0]
        assert paths == [None, *(f"{cloud}/{name}" for name in reversed(names))]
        assert fos.read_files(paths[1:]) == names[::-1]

    def test_can_move_the_files_into_the_cache(
        self, fos: Any, dataset: Any, cloud: str, media_cache: MediaCache
    ):
        local = dataset.values("filepath")
        bodies = [Path(path).read_bytes() for path in local]

        paths = fos.upload_media(dataset, cloud, update_filepaths=True, cache="move")

        assert dataset.values("filepath") == paths
        assert [path for path in local if Path(path).exists()] == []
        stats = media_cache.stats(paths)
        assert (stats["current_count"], stats["current_size"]) == (12, sum(map(len, bodies)))
        assert [Path(path).read_bytes() for path in dataset.get_local_paths()] == bodies
        assert media_cache.stats()["current_size"] == sum(map(len, bodies))

    def test_moves_nothing_if_an_upload_fails(
        self, fo: Any, fos: Any, cloud: str, tmp_path: Path, media_cache: MediaCache
    ):
        (tmp_path / "a.jpg").write_text("a")
        dataset = fo.Dataset()
        local = [str(tmp_path / name) for name in ("a.jpg", "missing.jpg")]
        dataset.add_samples([fo.Sample(filepath=path) for path in local])

        with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
            fos.upload_media(dataset, cloud, update_filepaths=True, cache="move")

        assert dataset.values("filepath") == local
        assert (tmp_path / "a.jpg").read_text() == "a"
        # and where the failure is skipped, the rest moves
        paths = fos.upload_media(
            dataset, cloud, update_filepaths=True, cache="move", overwrite=True, skip_failures=True
        )
        assert paths == [f"{cloud}/a.jpg", None]
        assert not (tmp_path / "a.jpg").exists()
        assert media_cache.stats()["current_count"] == 1

    def test_moves_only_what_it_has_uploaded(self, fos: Any, dataset: Any, cloud: str, tmp_path: Path):
        # Given a remote file of the same name, and other content
        fos.write_file("something else", f"{cloud}/{Path(dataset.first().filepath).name}")
        view = dataset.limit(1)

        fos.upload_media(view, cloud, cache="move")

        assert Path(dataset.first().filepath).exists()

    def test_what_the_cache_has_no_room_for_stays(
        self, fos: Any, dataset: Any, cloud: str, use_cache: Any, caplog: pytest.LogCaptureFixture
    ):
        cache = use_cache(cache_size_bytes=1000)
        local = dataset.values("filepath")

        paths = fos.upload_media(dataset, cloud, update_filepaths=True, cache="move")

        assert dataset.values("filepath") == paths
        assert [path for path in local if not Path(path).exists()] == []
        assert cache.stats()["current_count"] == 0
        assert (
            sum("it is larger than the whole cache; the local file" in text for text in caplog.messages) == 12
        )

    def test_does_not_fill_it_otherwise(self, fos: Any, dataset: Any, cloud: str, media_cache: MediaCache):
        fos.upload_media(dataset, cloud)

        assert media_cache.stats()["current_count"] == 0

    def test_failures_are_raised_or_skipped(
        self, fo: Any, fos: Any, cloud: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        (tmp_path / "a.jpg").write_text("a")
        dataset = fo.Dataset()
        dataset.add_samples([fo.Sample(filepath=str(tmp_path / name)) for name in ("a.jpg", "missing.jpg")])

        with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
            fos.upload_media(dataset, cloud)
        paths = fos.upload_media(dataset, cloud, skip_failures=True, update_filepaths=True)

        assert paths == [f"{cloud}/a.jpg", None]
        assert dataset.values("filepath") == [f"{cloud}/a.jpg", str(tmp_path / "missing.jpg")]

    def test_other_media_fields(self, fo: Any, fos: Any, cloud: str, tmp_path: Path):
        for name in ("1.png", "2.png"):
            (tmp_path / name).write_text(name)
        dataset = fo.Dataset()
        detections = [
            fo.Detection(label="x", bounding_box=[0, 0, 1, 1], mask_path=str(tmp_path / name))
            for name in ("1.png", "2.png")
        ]
        dataset.add_samples(
            [
                fo.Sample(filepath=str(tmp_path / "a.jpg"), objects=fo.Detections(detections=detections)),
                fo.Sample(filepath=str(tmp_path / "b.jpg")),
            ]
        )

        field = "objects.detections.mask_path"
        paths = fos.upload_media(dataset, cloud, media_field=field, update_filepaths=True)

        assert paths == [[f"{cloud}/1.png", f"{cloud}/2.png"], None]
        assert dataset.values(field) == paths

    def test_from_one_store_to_another(self, fos: Any, remote_dataset: Any, cloud: str, places: Places):
        paths = fos.upload_media(remote_dataset, cloud, progress=True)

        for path, original in zip(paths, remote_dataset.values("filepath"), strict=True):
            assert fos.read_file(path, binary=True) == places.contents[original]

    def test_refuses_what_it_does_not_know(
        self, fos: Any, dataset: Any, cloud: str, places: Places, tmp_path: Path
    ):
        with pytest.raises(ValueError, match="is not a remote path such as s3://bucket/folder"):
            fos.upload_media(dataset, str(tmp_path))
        with pytest.raises(ValueError, match="cache='moved' is not allowed: must be True, False, 'copy' or"):
            fos.upload_media(dataset, cloud, cache="moved")
        with pytest.raises(ForebayError, match="can only be read"):
            fos.upload_media(dataset, places.root("http") + "a", overwrite=True)


class TestGetURL:
    def test_anyone_can_read(self, fos: Any, cloud: str):
        fos.write_file("hello", f"{cloud}/a b.txt")

        assert requests.get(fos.get_url(f"{cloud}/a b.txt"), timeout=10).text == "hello"

    def test_anyone_can_write_what_was_signed_for_that(self, fos: Any, places: Places):
        path = places.root("s3") + "a.txt"

        requests.put(fos.get_url(path, method="PUT", hours=1), data=b"hello", timeout=10).raise_for_status()

        assert fos.read_file(path) == "hello"

    def test_it_expires(self, fos: Any, places: Places, monkeypatch: pytest.MonkeyPatch):
        assert "X-Amz-Expires=5400&" in fos.get_url(places.root("s3") + "a.txt", hours=1.5)
        assert "X-Amz-Expires=86400&" in fos.get_url(places.root("s3") + "a.txt")
        monkeypatch.setenv("FIFTYONE_SIGNED_URL_EXPIRATION", "2")
        assert "X-Amz-Expires=7200&" in fos.get_url(places.root("s3") + "a.txt")
        monkeypatch.setenv("FIFTYONE_SIGNED_URL_EXPIRATION", "a day")
        with pytest.raises(ConfigError, match="must be a number of hours, at most 168"):
            fos.get_url(places.root("s3") + "a.txt")
        with pytest.raises(SourceError, match="7 days"):
            fos.get_url(places.root("s3") + "a.txt", hours=1000)

    def test_a_url_is_its_own(self, fos: Any):
        assert fos.get_url("https://host/a.jpg?x=1") == "https://host/a.jpg?x=1"

    def test_local_files_have_none(self, fos: Any):
        with pytest.raises(ValueError, match=r"Cannot get a URL for local file '/a\.jpg'"):
            fos.get_url("/a.jpg")
