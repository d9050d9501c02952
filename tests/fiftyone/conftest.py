"""FiftyOne on a database of its own, with the adapter on, and media in all the places it may lie.

FiftyOne reads its settings once, when it is imported. So no test imports it at the top of its file:
it asks for the fixture `fo`, and imports whatever else it needs of FiftyOne inside its functions.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from examples.photos import photographs
from forebay.cache import MediaCache
from forebay.config import env_name
from tests.caches import make_cache, valkey
from tests.commands import forebay
from tests.fiftyone import media_files, torchvision_operators
from tests.fiftyone.environment import environment
from tests.fiftyone.made_datasets import dataset_of, pairs_of
from tests.fiftyone.places import EVERY, STORES, Places
from tests.servers.azurite import missing
from tests.servers.gcs import GCSServer
from tests.servers.http_server import HTTPServer
from tests.servers.mongodb import mongodb
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey

__all__ = ["forebay", "make_cache", "valkey"]


# FiftyOne itself


@pytest.fixture(scope="session")
def database_uri() -> Iterator[str]:
    """A MongoDB server of this session."""
    with mongodb() as uri:
        yield uri


@pytest.fixture(scope="session")
def fiftyone_environment(database_uri: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables that keep FiftyOne off the database and files of the user who runs the tests."""
    home = tmp_path_factory.mktemp("fiftyone-home")
    return environment(home, database_uri) | {"FIFTYONE_MODULE_PATH": "forebay.fiftyone"}


@pytest.fixture(scope="session")
def imported_fiftyone(fiftyone_environment: dict[str, str]) -> Iterator[Any]:
    """FiftyOne, imported once in this process, with the adapter on."""
    if "fiftyone" in sys.modules:
        pytest.fail("a test's file imports fiftyone at its top, before there is a database for it")
    with pytest.MonkeyPatch.context() as patch:
        _only(patch, fiftyone_environment)
        torchvision_operators.declare()
        fiftyone = importlib.import_module("fiftyone")
        # A test's file that imports a part of the adapter switched it on before these settings.
        importlib.import_module("forebay.fiftyone.cvat_registration").register()
        # Everything that is filled in when it is first used is filled in now, by these settings.
        fiftyone.list_datasets()
    yield fiftyone
    # At exit, FiftyOne would look for a server that is gone.
    importlib.import_module("fiftyone.core.odm.database")._disconnect()


@pytest.fixture(autouse=True)
def fiftyone_settings(
    fiftyone_environment: dict[str, str], clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """FiftyOne's variables, for the processes that a test starts; its home is the test's own."""
    _only(monkeypatch, fiftyone_environment | {"HOME": str(clean_environment)})
    return fiftyone_environment


@pytest.fixture
def fo(imported_fiftyone: Any, media_cache: MediaCache) -> Iterator[Any]:
    """The module ``fiftyone``, with an empty cache; the test's datasets are deleted afterwards."""
    shown = imported_fiftyone.config.show_progress_bars
    yield imported_fiftyone
    imported_fiftyone.config.show_progress_bars = shown
    imported_fiftyone.delete_datasets("*")


def _only(patch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("FIFTYONE_")]:
        if not name.startswith("FIFTYONE_MEDIA_CACHE_"):
            patch.delenv(name)
    for name, value in environment.items():
        patch.setenv(name, value)


# The cache


class UseCache(Protocol):
    """Gives this process another cache."""

    def __call__(self, **settings: Any) -> MediaCache: ...


@pytest.fixture
def use_cache(
    imported_fiftyone: Any,
    tmp_path: Path,
    valkey: Valkey,
    http_server: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[UseCache]:
    """Sets the cache's settings, named as in `MediaCacheConfig`, in the environment, and opens it anew.

    So they hold for the processes that the test starts, too. Everything that is not given is as in
    `tests.caches`: local dispatch, no grace period, an index of the test's own. The web server of the
    fixture `http_server` is allowed.
    """
    from forebay.fiftyone import local_media

    def use(**settings: Any) -> MediaCache:
        local_media.close_cache()
        defaults = {
            "cache_dir": tmp_path / "cache",
            "redis_url": valkey.url,
            "dispatch": "local",
            "num_workers": 4,
            "grace_seconds": 0.0,
            "min_free_bytes": 0,
            "allowed_sources": f"s3://,gs://,minio://,az://,{http_server.endpoint}/",
        }
        for name, value in (defaults | settings).items():
            monkeypatch.setenv(env_name(name), str(value))
        return local_media.media_cache()

    yield use
    local_media.close_cache()


@pytest.fixture
def media_cache(use_cache: UseCache) -> MediaCache:
    """The empty cache that the adapter uses in this test."""
    return use_cache()


# Media, and where it lies


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Twelve photographs by name, such as ``chelsea/0000.jpg``."""
    return {name.removeprefix("photos/"): content for name, content in photographs(12)}


@pytest.fixture
def photo_paths(photos: dict[str, bytes], tmp_path: Path) -> list[Path]:
    """The photographs as local files."""
    return media_files.write_all(tmp_path / "photos", photos)


@pytest.fixture
def places(
    s3_server: S3Server,
    s3_bucket: str,
    s3_environment: dict[str, str],
    gcs_server: GCSServer,
    gcs_bucket: str,
    gcs_environment: dict[str, str],
    http_server: HTTPServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Places:
    """Each place, empty: `put`, `put_file`, `put_tree`, `mixed`."""
    azure = None
    if not missing():
        request.getfixturevalue("azurite_environment")
        azure = request.getfixturevalue("azurite_server"), request.getfixturevalue("azurite_container")
    return Places(s3_server, s3_bucket, gcs_server, gcs_bucket, http_server, tmp_path / "local", azure)


@pytest.fixture(params=EVERY)
def place(request: pytest.FixtureRequest) -> str:
    """The name of each remote place in turn, for `Places.put`."""
    if request.param == "az" and (reason := missing()):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """The name of each place with buckets in turn, for `Places.put`."""
    if request.param == "az" and (reason := missing()):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture
def remote_dataset(fo: Any, places: Places, photos: dict[str, bytes]) -> Any:
    """Twelve photographs, by turns in S3, in GCS, behind http URLs and in a local directory."""
    return dataset_of(fo, places.mixed(photos))


@pytest.fixture
def remote_videos(fo: Any, places: Places, tmp_path: Path) -> Any:
    """Videos of eight frames: one in each place."""
    names = range(len(places.names))
    made = [media_files.video(tmp_path / "made" / f"{i}.mp4", seed=i) for i in names]
    return dataset_of(fo, places.mixed({f"videos/{p.name}": p.read_bytes() for p in made}))


@pytest.fixture
def remote_point_clouds(fo: Any, places: Places, tmp_path: Path) -> Any:
    """Point clouds: one in each place."""
    names = range(len(places.names))
    made = [media_files.point_cloud(tmp_path / "made" / f"{i}.pcd", seed=i) for i in names]
    return dataset_of(fo, places.mixed({f"clouds/{p.name}": p.read_bytes() for p in made}))


@pytest.fixture
def remote_scenes(fo: Any, places: Places, tmp_path: Path) -> Any:
    """A .fo3d scene in each place, with their assets beside them; see `media_files.scene`."""
    dataset = fo.Dataset()
    for i, place in enumerate(places.names):
        media_files.scene(tmp_path / "made" / place / f"{i}.fo3d", seed=i)
        uris = places.put_tree(place, tmp_path / "made" / place, "scenes")
        dataset.add_sample(fo.Sample(filepath=uris[f"{i}.fo3d"]))
    return dataset


@pytest.fixture
def remote_masks(remote_dataset: Any, fo: Any, places: Places, tmp_path: Path) -> Any:
    """`remote_dataset` with a mask (``segmentation``) and a heatmap (``heatmap``) on disk for each sample,
    in the same place as its photograph, and an instance's mask in ``detections``."""
    for i, sample in enumerate(remote_dataset.iter_samples(autosave=True)):
        place = places.place_of(sample.filepath)
        mask = media_files.mask(tmp_path / "made" / f"mask-{i}.png", seed=i)
        heatmap = media_files.heatmap(tmp_path / "made" / f"heatmap-{i}.png", seed=i)
        instance = media_files.mask(tmp_path / "made" / f"instance-{i}.png", size=(8, 8), seed=i)
        sample["segmentation"] = fo.Segmentation(mask_path=places.put_file(place, mask, f"masks/{i}.png"))
        sample["heatmap"] = fo.Heatmap(map_path=places.put_file(place, heatmap, f"heatmaps/{i}.png"))
        uri = places.put_file(place, instance, f"instances/{i}.png")
        detection = fo.Detection(label="thing", bounding_box=[0.2, 0.2, 0.5, 0.5], mask_path=uri)
        sample["detections"] = fo.Detections(detections=[detection])
    return remote_dataset


@pytest.fixture
def remote_groups(fo: Any, places: Places, photos: dict[str, bytes]) -> Any:
    """Six groups of a ``left`` and a ``right`` photograph, by turns in each place."""
    uris = places.mixed(photos)
    return pairs_of(fo, uris)
