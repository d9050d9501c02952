"""Datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fiftyone.workflows.table import CLOUDS, GROUPS, IMAGES, MASKS, SCENES, VIDEOS, works
from tests.fiftyone.workflows.twins import Twins, every_slice

ALL = (IMAGES, GROUPS, MASKS, VIDEOS, CLOUDS, SCENES)


@works("`clone()`, `save_view()`, `to_dict()`, `from_dict()`, JSON", *ALL)
def test_copies(twins: Twins) -> None:
    import fiftyone as fo

    def run(samples: Any, out: Path) -> Any:
        paths = samples.values("filepath")
        assert every_slice(samples._root_dataset.clone()).values("filepath") == paths
        assert every_slice(fo.Dataset.from_dict(samples._root_dataset.to_dict())).values("filepath") == paths
        samples._root_dataset.write_json(str(out / "dataset.json"))
        again = fo.Dataset.from_json(str(out / "dataset.json"), name=f"again-{out.name}")
        assert every_slice(again).values("filepath") == paths
        (out / "dataset.json").unlink()
        return paths

    twins.same(run, reads="none")


@works("`merge_samples()`, `add_collection()`, `skip_existing=`", *ALL)
def test_merging(twins: Twins) -> None:
    import fiftyone as fo

    def run(samples: Any, out: Path) -> Any:
        dataset = samples._root_dataset.clone()
        # FiftyOne itself cannot merge groups by the filepaths of their samples.
        if dataset.media_type != "group":
            dataset.merge_samples(
                [fo.Sample(filepath=path, note="merged") for path in samples.values("filepath")]
            )
            assert len(dataset) == len(samples)
            assert dataset.values("note") == ["merged"] * len(samples)
        both = samples._root_dataset.clone()
        both.add_collection(samples._root_dataset.clone(), new_ids=True)
        return sorted(every_slice(both).values("filepath"), key=twins.told)

    twins.same(run, reads="none")


@works("access by filepath, sorting, matching, tagging, `set_values()`", *ALL)
def test_plain_operations(twins: Twins) -> None:
    from fiftyone import ViewField

    def run(samples: Any, out: Path) -> Any:
        first = samples.first()
        if samples._root_dataset.media_type != "group":
            assert samples._root_dataset[first.filepath].id == first.id
        samples.tag_samples("seen")
        found = samples.match(ViewField("filepath") == first.filepath)
        return [
            found.values("tags"),
            samples.count_values("kind.label"),
            samples.match_tags("even").values("filepath"),
        ]

    twins.same(run, reads="none")


@works("a sample's filepath, set and saved", *ALL)
def test_new_filepaths(twins: Twins) -> None:
    uri = f"s3://{twins.places.s3_bucket}/elsewhere/{Path(every_slice(twins.remote).first().filepath).name}"
    sample = every_slice(twins.remote).first()

    sample.filepath = uri
    sample.save()

    twins.remote.reload()
    assert every_slice(twins.remote).first().filepath == uri


@works("`from_images([…])`, `add_images()`, `from_videos([…])`, `add_videos()` of URIs", IMAGES, VIDEOS)
def test_samples_of_uris(twins: Twins, fo: Any) -> None:
    paths = twins.remote.values("filepath")

    kind = "images" if twins.kind == IMAGES else "videos"

    assert getattr(fo.Dataset, f"from_{kind}")(paths).values("filepath") == paths
    dataset = fo.Dataset()
    getattr(dataset, f"add_{kind}")(paths)
    assert dataset.values("filepath") == paths
    assert twins.cache.stats()["current_count"] == 0


@works("`fos.list_files()`, and `from_images()`, `from_videos()` of that", IMAGES, VIDEOS)
def test_datasets_of_what_is_listed(twins: Twins, store: str, fo: Any) -> None:
    import fiftyone.core.storage as fos

    paths = fos.list_files(twins.places.root(store), abs_paths=True, recursive=True)
    make = fo.Dataset.from_images if twins.kind == IMAGES else fo.Dataset.from_videos

    assert sorted(make(paths).values("filepath")) == sorted(paths)
