"""FiftyOne's zoos and plugins, where what they download lies in a bucket."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import ForebayError
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.places import Places
from tests.servers.seaweedfs import S3Server


@pytest.fixture(autouse=True)
def zoo(fo: Any, tmp_path: Path) -> Iterator[Any]:
    """FiftyOne's settings, with empty directories of the zoos and of the plugins."""
    names = ("model_zoo_dir", "dataset_zoo_dir", "plugins_dir")
    more = ("model_zoo_manifest_paths", "dataset_zoo_manifest_paths")
    before = {name: getattr(fo.config, name) for name in (*names, *more)}
    for name in names:
        setattr(fo.config, name, str(tmp_path / name))
    yield fo.config
    for name, value in before.items():
        setattr(fo.config, name, value)


def manifest(url: str, name: str = "tiny") -> bytes:
    """A manifest of one model, whose weights lie at a URL."""
    model = {
        "base_name": name,
        "base_filename": f"{name}.bin",
        "description": "a tiny model",
        "manager": {"type": "fiftyone.core.models.ModelManager", "config": {"url": url}},
    }
    return json.dumps({"name": f"models/{name}", "models": [model]}).encode()


def archive(files: dict[str, bytes]) -> bytes:
    """A zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return file.getvalue()


class TestModels:
    @pytest.mark.parametrize("cloud", ["s3", "gs"])
    def test_weights_in_a_bucket(self, cloud: str, fo: Any, zoo: Any, places: Places) -> None:
        # given a manifest in a bucket, of a model whose weights are there, too
        weights = places.put(cloud, "zoo/tiny.bin", b"weights")
        zoo.model_zoo_manifest_paths = [places.put(cloud, "zoo/manifest.json", manifest(weights))]

        # when the model is downloaded
        model, path = fo.zoo.download_zoo_model("tiny")

        # then its weights are in the directory of the zoo.
        assert model.name == "tiny"
        assert Path(path).read_bytes() == b"weights"
        assert Path(path).is_relative_to(zoo.model_zoo_dir)

    def test_weights_are_those_of_today(self, fo: Any, zoo: Any, places: Places) -> None:
        weights = places.put("s3", "zoo/tiny.bin", b"weights")
        zoo.model_zoo_manifest_paths = [places.put("s3", "zoo/manifest.json", manifest(weights))]
        fo.zoo.download_zoo_model("tiny")

        places.put("s3", "zoo/tiny.bin", b"newer weights")
        _, path = fo.zoo.download_zoo_model("tiny", overwrite=True)

        assert Path(path).read_bytes() == b"newer weights"

    def test_weights_that_are_not_there(self, fo: Any, zoo: Any, places: Places, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_bytes(manifest(f"{places.root('s3')}zoo/none.bin"))
        zoo.model_zoo_manifest_paths = [str(tmp_path / "manifest.json")]

        with pytest.raises(ForebayError, match=r"zoo/none\.bin: no such object"):
            fo.zoo.download_zoo_model("tiny")

        assert not list(Path(zoo.model_zoo_dir).rglob("*.bin"))

    @pytest.mark.parametrize("folder", ["zoo", "github-mirror"])
    def test_a_source_of_models_in_a_bucket(self, folder: str, fo: Any, zoo: Any, places: Places) -> None:
        # given an archive of a manifest, as a source of models
        weights = places.put("s3", "zoo/tiny.bin", b"weights")
        content = {"models/manifest.json": manifest(weights), "models/__init__.py": b""}
        source = places.put("s3", f"{folder}/models.zip", archive(content))

        fo.zoo.register_zoo_model_source(source)

        assert source in fo.zoo.list_zoo_model_sources()
        assert "tiny" in fo.zoo.list_zoo_models(source=source)

    def test_a_url_of_a_server_of_the_settings(
        self, fo: Any, zoo: Any, places: Places, s3_server: S3Server, use_cache: UseCache, tmp_path: Path
    ) -> None:
        # given weights at a URL that only credentials can read
        places.put("s3", "zoo/tiny.bin", b"weights")
        url = f"{s3_server.endpoint}/{places.s3_bucket}/zoo/tiny.bin"
        (tmp_path / "manifest.json").write_bytes(manifest(url))
        zoo.model_zoo_manifest_paths = [str(tmp_path / "manifest.json")]
        use_cache(allowed_sources="s3://")

        _, path = fo.zoo.download_zoo_model("tiny")

        assert Path(path).read_bytes() == b"weights"


class TestDatasets:
    def test_a_source_of_a_data_set_in_a_bucket(self, fo: Any, zoo: Any, places: Places) -> None:
        code = (
            b"import fiftyone as fo\n"
            b"def download_and_prepare(dataset_dir):\n    return None, 1, None\n"
            b"def load_dataset(dataset, dataset_dir):\n    dataset.add_sample(fo.Sample(filepath='a.jpg'))\n"
        )
        described = b"type: dataset\nname: tiny-data\n"
        source = places.put(
            "s3", "zoo/data.zip", archive({"data/fiftyone.yml": described, "data/__init__.py": code})
        )

        dataset = fo.zoo.load_zoo_dataset(source, progress=False)

        assert len(dataset) == 1
        assert (Path(zoo.dataset_zoo_dir) / "tiny-data" / "fiftyone.yml").read_bytes() == described

    def test_plugins_in_a_bucket(self, fo: Any, zoo: Any, places: Places) -> None:
        import fiftyone.plugins as fop

        described = b"name: '@me/tiny'\n"
        source = places.put("s3", "github/plugin.zip", archive({"tiny/fiftyone.yml": described}))

        assert list(fop.download_plugin(source)) == ["@me/tiny"]


class TestSettings:
    def test_a_bucket_is_no_directory_of_a_zoo(self, fo: Any, zoo: Any, places: Places) -> None:
        for name, ask in (
            ("model_zoo_dir", fo.zoo.list_zoo_models),
            ("dataset_zoo_dir", lambda: fo.zoo.load_zoo_dataset("quickstart")),
        ):
            # FiftyOne makes this of a URI in its settings.
            setattr(zoo, name, os.path.abspath("s3://bucket/zoo"))
            told = (
                f"{name}=s3://bucket/zoo: what FiftyOne's zoo downloads must lie on this machine: name a "
                f"local directory, and put models and archives into buckets as sources or URLs"
            )
            with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
                ask()

    @pytest.mark.parametrize(
        "paths",
        [
            ["s3://bucket/a.json", "/here/b.json", "gs://bucket/c.json"],
            ["/here/s3:/bucket/a.json", "/here/b.json", "/here/gs:/bucket/c.json"],
            ["/here/s3", "//bucket/a.json", "/here/b.json", "/here/gs", "//bucket/c.json"],
        ],
        ids=["code", "file", "variable"],
    )
    def test_manifests_are_what_the_settings_name(self, paths: list[str]) -> None:
        from forebay.fiftyone.zoo import restored

        assert restored(paths) == ["s3://bucket/a.json", "/here/b.json", "gs://bucket/c.json"]

    def test_without_any(self, media_cache: MediaCache) -> None:
        from forebay.fiftyone.zoo import restored

        assert restored(None) is None
        assert restored([]) == []
