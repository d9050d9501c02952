"""Recordings of robots in buckets, in the SDK: LeRobot datasets and MCAP files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.uri import entry_of
from tests.fiftyone.places import Places
from tests.fiftyone.recordings import EPISODE_FRAMES, lerobot, mcap
from tests.servers.azurite import missing

RED, GREEN, BLUE = (200, 30, 40), (30, 160, 60), (40, 60, 210)
FIELDS = ["episode_index", "task", "length", "duration", "robot_type", "fps"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local LeRobot dataset of three episodes."""
    return lerobot(tmp_path_factory.mktemp("lerobot") / "arm", [RED, GREEN, BLUE])


@pytest.fixture
def arm(places: Places, made: Path) -> str:
    """The same in S3."""
    places.put_tree("s3", made, "robots/arm")
    return f"{places.root('s3')}robots/arm"


def import_lerobot(fo: Any, directory: Any, **options: Any) -> Any:
    return fo.Dataset.from_dir(
        dataset_dir=str(directory), dataset_type=fo.types.LeRobotDataset, progress=False, **options
    )


def sources_of(dataset: Any) -> list[str]:
    """The directories of the recordings that a dataset refers to."""
    from fiftyone.multimodal.media_reference.field_model import _media_sources_by_id

    return [source["loc"] for source in _media_sources_by_id(dataset).values()]


def is_cached(cache: MediaCache, uri: str) -> bool:
    return cache.engine.files.locate(entry_of(uri)) is not None


class TestImportingLeRobot:
    @pytest.mark.parametrize("cloud", ["s3", "gs", "az"])
    def test_from_a_bucket(
        self, cloud: str, fo: Any, places: Places, made: Path, media_cache: MediaCache
    ) -> None:
        if cloud == "az" and (reason := missing()):
            pytest.skip(reason)
        # given the same dataset here and in a bucket
        uris = places.put_tree(cloud, made, "robots/arm")
        root = f"{places.root(cloud)}robots/arm"

        # when both are imported
        here, there = import_lerobot(fo, made), import_lerobot(fo, f"{root}/", episodes=[0, 1, 2])

        # then they have the same episodes, in the directory where they lie
        assert there.values(FIELDS) == here.values(FIELDS)
        assert there.media_type == "multimodal"
        assert sources_of(there) == [root]
        # and nothing was downloaded but the description of the dataset.
        assert [name for name, uri in uris.items() if is_cached(media_cache, uri)] == ["meta/info.json"]

    def test_from_a_whole_bucket(self, fo: Any, places: Places, made: Path) -> None:
        for file in made.rglob("*"):
            if file.is_file():
                places.put_file("s3", file, file.relative_to(made).as_posix())

        dataset = import_lerobot(fo, places.root("s3"))

        assert sources_of(dataset) == [places.root("s3").rstrip("/")]

    def test_again_when_it_has_grown(self, fo: Any, places: Places, arm: str, tmp_path: Path) -> None:
        # given an imported dataset, all of which is cached
        dataset = import_lerobot(fo, arm)
        dataset.download_media(progress=False)

        # when an episode is recorded, and it is imported again
        grown = lerobot(tmp_path / "arm", [RED, GREEN, BLUE, RED])
        places.put_tree("s3", grown, "robots/arm")

        # then the episode is there.
        assert len(import_lerobot(fo, arm)) == 4

    def test_from_a_web_server_is_refused(self, fo: Any, places: Places, made: Path) -> None:
        places.put_tree("http", made, "arm")
        root = f"{places.root('http')}arm"

        told = (
            f"{root}: a LeRobot dataset cannot be read from a web server, which does not list its files: "
            f"name its bucket, as s3://bucket/folder, or copy it to a local directory"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
            import_lerobot(fo, root)

    def test_what_is_no_dataset_is_named(self, fo: Any, places: Places) -> None:
        places.put("s3", "robots/empty/readme.txt", b"")

        with pytest.raises(ValueError, match=r"missing meta/info\.json"):
            import_lerobot(fo, f"{places.root('s3')}robots/empty")
        with pytest.raises(ValueError, match=r"root 's3://.*/robots/none' does not exist"):
            import_lerobot(fo, f"{places.root('s3')}robots/none")


class TestUsingLeRobot:
    def test_its_files_are_downloaded_counted_and_cleared(
        self, fo: Any, places: Places, arm: str, media_cache: MediaCache
    ) -> None:
        dataset = import_lerobot(fo, arm)
        files = [uri for uri in places.contents if uri.startswith(arm)]

        dataset.download_media(progress=False)

        assert all(is_cached(media_cache, uri) for uri in files)
        assert dataset.cache_stats()["current_count"] == len(files)
        dataset.clear_media()
        assert not any(is_cached(media_cache, uri) for uri in files)

    def test_an_episode_has_no_path_of_its_own(self, fo: Any, arm: str) -> None:
        sample = import_lerobot(fo, arm).first()

        told = (
            f"sample {sample.id} is a part of a recording, which lies in several files: call "
            f"dataset.download_media() to cache them"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
            sample.local_path  # noqa: B018

    def test_selected_episodes_are_exported(
        self, fo: Any, places: Places, made: Path, arm: str, tmp_path: Path
    ) -> None:
        # given the same dataset here and in a bucket
        here, there = import_lerobot(fo, made), import_lerobot(fo, arm)

        # when two of three episodes are exported, to a directory and to a bucket
        targets = [str(tmp_path / "here"), f"{places.root('s3')}exported"]
        for dataset, target in zip((here, there), targets, strict=True):
            dataset.skip(1).export(export_dir=target, dataset_type=fo.types.LeRobotDataset, progress=False)

        # then both hold the same.
        first, second = (import_lerobot(fo, target) for target in targets)
        assert first.values(FIELDS) == second.values(FIELDS)
        assert second.values("length") == [EPISODE_FRAMES] * 2
        second.download_media(progress=False)

    @pytest.mark.parametrize("cloud", [False, True], ids=["directory", "bucket"])
    def test_fiftyones_own_format_takes_the_files_along(
        self, cloud: bool, fo: Any, places: Places, arm: str, tmp_path: Path, media_cache: MediaCache
    ) -> None:
        target = f"{places.root('s3')}bundle" if cloud else str(tmp_path / "bundle")
        kind = fo.types.FiftyOneDataset
        import_lerobot(fo, arm).export(export_dir=target, dataset_type=kind, progress=False)
        for uri in [uri for uri in places.contents if uri.startswith(arm)]:
            places.s3_server.delete(places.s3_bucket, uri.removeprefix(places.root("s3")))

        again = fo.Dataset.from_dir(dataset_dir=target, dataset_type=kind, progress=False)

        assert again.values("episode_index") == [0, 1, 2]
        (source,) = sources_of(again)
        assert source.startswith(f"{target}/media_sources/")
        again.download_media(progress=False)
        assert again.cache_stats()["current_count"] == (6 if cloud else 0)


class TestMcap:
    def test_its_metadata_are_read_without_its_contents(
        self, fo: Any, places: Places, tmp_path: Path, media_cache: MediaCache
    ) -> None:
        made = mcap(tmp_path / "drive.mcap", RED)
        dataset = fo.Dataset()
        dataset.add_samples(
            [fo.Sample(filepath=str(path)) for path in (made, places.put_file("s3", made, "drive.mcap"))]
        )

        dataset.compute_metadata(progress=False)

        here, there = dataset.values("metadata")
        assert there == here
        assert [sample.media_type for sample in dataset] == ["multimodal"] * 2
        assert media_cache.stats()["current_count"] == 0

    def test_a_reader_reads_the_parts_that_it_needs(
        self, fo: Any, places: Places, tmp_path: Path, media_cache: MediaCache
    ) -> None:
        import fiftyone.core.storage as fos
        from mcap.reader import make_reader

        uri = places.put_file("s3", mcap(tmp_path / "drive.mcap", RED, filling=8_000_000), "drive.mcap")

        with places.s3_server.proxied() as proxy, pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
            file = fos.open_ranged(uri)
            summary = make_reader(file).get_summary()
            file.release()

        assert summary is not None and summary.statistics is not None
        assert summary.statistics.message_count == 40
        assert media_cache.stats()["current_count"] == 0
