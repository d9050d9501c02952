"""A cache of a tenth of the dataset's size: workflows go through the whole dataset all the same.

Every file is there when it is needed, what is read is what was put there, and the directory never holds
more than the limit.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from examples.photos import photographs
from forebay.cache import MediaCache
from tests.fiftyone import media_files
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.places import Places
from tests.limits import Watcher

PHOTOGRAPHS = 200
VIDEOS = 20


def digest(pixels: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:12]


def model_that_looks() -> Any:
    """An image model whose label and embedding other pixels would change."""
    import fiftyone as fo
    import fiftyone.core.models as fom

    class Looking(fom.Model, fom.EmbeddingsMixin):
        media_type = "image"
        has_embeddings = True
        ragged_batches = True
        transforms = None
        preprocess = False

        def predict(self, arg: Any) -> Any:
            return fo.Classification(label=digest(arg))

        def embed(self, arg: Any) -> Any:
            return np.frombuffer(bytes.fromhex(digest(arg)), dtype=np.uint8).astype(float)

    return Looking()


def model_over_a_loader() -> Any:
    """The same, fed by a PyTorch data loader."""
    import fiftyone as fo
    import fiftyone.core.models as fom

    class Loaded(fom.TorchModelMixin, fom.Model):
        media_type = "image"
        ragged_batches = True
        transforms = staticmethod(np.asarray)
        preprocess = False
        has_collate_fn = True
        collate_fn = staticmethod(list)
        using_half_precision = False

        def predict(self, arg: Any) -> Any:
            return fo.Classification(label=digest(arg))

    return Loaded()


def model_that_counts_frames() -> Any:
    """A model of videos whose label is the number of their frames."""
    import fiftyone as fo
    import fiftyone.core.models as fom

    class Counting(fom.Model):
        media_type = "video"
        ragged_batches = True
        transforms = None
        preprocess = False

        def predict(self, arg: Any) -> Any:
            return fo.Classification(label=str(sum(1 for _ in arg)))

    return Counting()


@pytest.fixture(scope="session")
def many_photos() -> dict[str, bytes]:
    return dict(photographs(PHOTOGRAPHS))


@pytest.fixture
def labels(many_photos: dict[str, bytes]) -> list[str]:
    """The model's label of each photograph, in order."""
    return [digest(np.asarray(Image.open(io.BytesIO(body)))) for body in many_photos.values()]


@pytest.fixture
def a_tenth(many_photos: dict[str, bytes]) -> int:
    """A tenth of the photographs, in bytes."""
    return sum(map(len, many_photos.values())) // 10


@pytest.fixture
def dataset(fo: Any, places: Places, many_photos: dict[str, bytes]) -> Any:
    """200 photographs in S3."""
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=places.put("s3", k, b)) for k, b in many_photos.items()])
    return dataset


@pytest.fixture
def small_cache(use_cache: UseCache, a_tenth: int, tmp_path: Path) -> Iterator[MediaCache]:
    """A cache of a tenth of the photographs, whose directory is watched for as long as the test runs."""
    cache = use_cache(cache_size_bytes=a_tenth)
    with Watcher(tmp_path / "cache") as watcher:
        yield cache
    assert watcher.looks > 10
    assert 0 < watcher.largest <= a_tenth
    # And nothing is left that would keep it full.
    assert cache.engine.open_index().leases.all() == []
    assert cache.engine.open_index().entries.totals().reserved == 0


@pytest.mark.usefixtures("small_cache")
class TestWorkflows:
    @pytest.mark.parametrize("batch_size", [None, 32], ids=["one by one", "in batches of 32"])
    def test_apply_model(self, dataset: Any, labels: list[str], batch_size: int | None) -> None:
        dataset.apply_model(model_that_looks(), "seen", batch_size=batch_size, skip_failures=False)

        assert dataset.values("seen.label") == labels

    def test_compute_embeddings(self, dataset: Any, labels: list[str]) -> None:
        embeddings = dataset.compute_embeddings(model_that_looks(), skip_failures=False)

        assert [bytes(row.astype(np.uint8)).hex() for row in embeddings] == labels

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_a_data_loader(self, dataset: Any, labels: list[str], num_workers: int) -> None:
        dataset.apply_model(
            model_over_a_loader(), "seen", batch_size=8, num_workers=num_workers, skip_failures=False
        )

        assert dataset.values("seen.label") == labels

    @pytest.mark.parametrize("batch_size", [None, 4])
    @pytest.mark.parametrize("clear", [False, True], ids=["", "clear"])
    def test_download_context(
        self, dataset: Any, many_photos: dict[str, bytes], batch_size: int | None, clear: bool
    ) -> None:
        with dataset.download_context(batch_size=batch_size, clear=clear, skip_failures=False):
            read = [Path(sample.local_path).read_bytes() for sample in dataset]

        assert read == list(many_photos.values())

    def test_a_second_loop_within_the_context(self, dataset: Any, many_photos: dict[str, bytes]) -> None:
        with dataset.download_context(skip_failures=False):
            for _ in range(2):
                read = [Path(sample.local_path).read_bytes() for sample in dataset]
                assert read == list(many_photos.values())


def test_what_downloads_everything_says_that_not_everything_is_left(
    dataset: Any, use_cache: UseCache, a_tenth: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache = use_cache(cache_size_bytes=a_tenth)

    for download in (dataset.download_media, dataset.get_local_paths):
        caplog.clear()
        download()

        there = cache.stats()["current_count"]
        said = [r.getMessage() for r in caplog.records if r.name == "fiftyone.core.cache"]
        assert [text.partition(":")[0] for text in said] == [
            f"only {there} of {PHOTOGRAPHS} files are still cached"
        ]


def test_the_grace_period_does_not_hold_up_what_reads_its_files_at_once(
    dataset: Any, labels: list[str], use_cache: UseCache, a_tenth: int, tmp_path: Path
) -> None:
    # Given a grace period that a test does not outlive.
    cache = use_cache(cache_size_bytes=a_tenth, grace_seconds=3600)

    # When a model goes through a dataset ten times as large as the cache
    with Watcher(tmp_path / "cache") as watcher:
        dataset.apply_model(model_that_looks(), "seen", skip_failures=False)

    # Then it has seen everything: what it had read made room for the rest, as no other process used it.
    assert dataset.values("seen.label") == labels
    assert watcher.largest <= a_tenth
    assert cache.engine.open_index().leases.all() == []


def test_videos(fo: Any, places: Places, use_cache: UseCache, tmp_path: Path) -> None:
    # Given twenty videos, and a cache that holds two of them.
    made = [media_files.video(tmp_path / "made" / f"{i}.mp4", frames=2 + i) for i in range(VIDEOS)]
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=places.put_file("s3", path, path.name)) for path in made])
    limit = 2 * max(path.stat().st_size for path in made)
    use_cache(cache_size_bytes=limit)

    # When a model watches them
    with Watcher(tmp_path / "cache") as watcher:
        dataset.apply_model(model_that_counts_frames(), "seen", skip_failures=False)

    # Then it sees all their frames.
    assert [int(label) for label in dataset.values("seen.label")] == [2 + i for i in range(VIDEOS)]
    assert watcher.largest <= limit
