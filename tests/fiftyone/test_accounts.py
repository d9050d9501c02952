"""The guide's snippets over two accounts of every store in one dataset, by the setting `credentials`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from forebay.cache import MediaCache
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.made_datasets import dataset_of
from tests.fiftyone.test_cloud_media import THE_WHOLE_CACHE
from tests.servers.azurite import AzureServer, azurites, missing
from tests.servers.gcs import GCSServer, fake_gcs
from tests.servers.seaweedfs import S3Server

Contents = dict[str, bytes]


@pytest.fixture(scope="module")
def other_gcs_server() -> Iterator[GCSServer]:
    """Another fake-gcs-server, which has nothing of the first."""
    with fake_gcs() as server:
        yield server


@pytest.fixture(scope="module")
def azure_accounts() -> Iterator[list[AzureServer]]:
    """Two accounts of one Azurite; none where it cannot run."""
    if missing():
        yield []
        return
    with azurites(["firstaccount", "secondaccount"]) as servers:
        yield servers


@dataclass
class Accounts:
    """Media in two accounts of each store.

    Attributes:
        contents: by URI.
        cache: the one that the adapter uses.
        folders: by the name of the account, such as ``s3 other``; each can be written.
    """

    contents: Contents
    cache: MediaCache
    folders: dict[str, str]


@pytest.fixture
def accounts(
    fo: Any,
    use_cache: UseCache,
    s3_server: S3Server,
    other_s3_server: S3Server,
    gcs_server: GCSServer,
    other_gcs_server: GCSServer,
    azure_accounts: list[AzureServer],
    photos: Contents,
    monkeypatch: pytest.MonkeyPatch,
) -> Accounts:
    """Two photographs in each; keys are in variables that the setting names, and nothing else is set."""
    rules: dict[str, dict[str, Any]] = {}
    buckets: dict[str, tuple[Any, str]] = {}
    for name, prefix, s3 in (("ONE", "s3://", s3_server), ("TWO", "s3://other-*", other_s3_server)):
        monkeypatch.setenv(f"S3_{name}_KEY", s3.access_key)
        monkeypatch.setenv(f"S3_{name}_SECRET", s3.secret_key)
        rules[prefix] = {
            "access_key_variable": f"S3_{name}_KEY",
            "secret_key_variable": f"S3_{name}_SECRET",
            "endpoint_url": s3.endpoint,
            "region": s3.region,
        }
    first = s3_server.create_bucket()
    buckets |= {"s3": (s3_server, first), "s3 other": (other_s3_server, f"other-{first}")}
    other_s3_server.create_bucket(f"other-{first}")
    for prefix, gcs in (("gs://", gcs_server), ("gs://other-*", other_gcs_server)):
        rules[prefix] = {"endpoint_url": gcs.endpoint, "anonymous": True}
    first = gcs_server.create_bucket()
    other_gcs_server.create_bucket(f"other-{first}")
    buckets |= {"gs": (gcs_server, first), "gs other": (other_gcs_server, f"other-{first}")}
    if azure_accounts:
        one, two = azure_accounts
        monkeypatch.setenv("AZURE_ONE_STRING", one.connection_string())
        monkeypatch.setenv("AZURE_TWO_SAS", two.sas_token("rlwdc"))
        rules["az://"] = {"connection_string_variable": "AZURE_ONE_STRING"}
        rules["az://other-*"] = {
            "account": two.account,
            "sas_token_variable": "AZURE_TWO_SAS",
            "endpoint_url": two.endpoint,
        }
        first = one.create_container()
        two.create_container(f"other-{first}")
        buckets |= {"az": (one, first), "az other": (two, f"other-{first}")}
    # The same keys everywhere, so that only the bucket tells the photographs apart.
    keys, bodies = list(photos)[:2], list(photos.values())
    contents = {
        server.put(bucket, f"a b/{key}", bodies[2 * number + place]): bodies[2 * number + place]
        for number, (server, bucket) in enumerate(buckets.values())
        for place, key in enumerate(keys)
    }
    cache = use_cache(credentials=json.dumps(rules))
    folders = {name: f"{name[:2]}://{bucket}/" for name, (_, bucket) in buckets.items()}
    return Accounts(contents, cache, folders)


@pytest.fixture
def dataset(fo: Any, accounts: Accounts) -> Any:
    """One dataset of all of them."""
    return dataset_of(fo, accounts.contents)


def test_the_dataset_has_two_accounts_of_each(accounts: Accounts) -> None:
    schemes = ["s3", "gs"] + ([] if missing() else ["az"])
    assert sorted(accounts.folders) == sorted([*schemes, *(f"{scheme} other" for scheme in schemes)])
    assert len(accounts.contents) == 2 * len(accounts.folders)


def test_local_path_and_get_local_paths(accounts: Accounts, dataset: Any) -> None:
    for sample in dataset[:5]:
        assert Path(sample.local_path).read_bytes() == accounts.contents[sample.filepath]

    paths = dataset.get_local_paths()

    assert [Path(path).read_bytes() for path in paths] == [*accounts.contents.values()]
    assert len(set(paths)) == len(accounts.contents)


def test_download_stats_and_clearing(
    accounts: Accounts, dataset: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.download_media(skip_failures=False)
    assert dataset.cache_stats()["current_count"] == len(accounts.contents)
    dataset[:3].clear_media()
    assert dataset.cache_stats()["current_count"] == len(accounts.contents) - 3

    exec(THE_WHOLE_CACHE, {})

    assert f"'current_count': {len(accounts.contents) - 3}" in capsys.readouterr().out
    assert accounts.cache.stats()["current_count"] == 0


def test_a_loop_with_download_context(accounts: Accounts, dataset: Any) -> None:
    with dataset.download_context(batch_size=3):
        for sample in dataset.sort_by("filepath"):
            assert Path(sample.local_path).read_bytes() == accounts.contents[sample.filepath]


def test_compute_metadata_reads_headers_only(accounts: Accounts, dataset: Any) -> None:
    dataset.compute_metadata(skip_failures=False)

    assert all(metadata.width for metadata in dataset.values("metadata"))
    assert accounts.cache.stats()["current_count"] == 0


def test_an_export_and_an_import_from_each_account(
    accounts: Accounts, dataset: Any, fo: Any, tmp_path: Path
) -> None:
    dataset.export(export_dir=str(tmp_path / "out"), dataset_type=fo.types.ImageDirectory, export_media=True)
    assert len([*(tmp_path / "out").iterdir()]) == len(accounts.contents)

    for folder in accounts.folders.values():
        here = [uri for uri in accounts.contents if uri.startswith(folder)]
        assert fo.Dataset.from_images_dir(folder, recursive=True).values("filepath") == sorted(here)


def test_files_of_each_are_written_copied_across_and_signed_for(
    accounts: Accounts, dataset: Any, fo: Any
) -> None:
    import fiftyone.core.storage as fos

    folders = list(accounts.folders.values())
    fos.write_file("text", f"{folders[0]}new/0.txt")
    for number, (source, target) in enumerate(itertools.pairwise(folders)):
        fos.copy_file(f"{source}new/{number}.txt", f"{target}new/{number + 1}.txt")
    for number, folder in enumerate(folders):
        assert fos.read_file(f"{folder}new/{number}.txt") == "text"
        url = fos.get_url(f"{folder}new/{number}.txt", hours=1)
        assert requests.get(url, timeout=30).text == "text"
        fos.delete_file(f"{folder}new/{number}.txt")
        assert fos.list_files(f"{folder}new") == []
