"""Media that cannot be downloaded: one summary or the first failure, naming sample and reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay.errors import (
    AccessDeniedError,
    CacheFullError,
    ConfigError,
    DownloadError,
    ForebayError,
    IndexUnavailableError,
    ObjectNotFoundError,
    SourceNotAllowedError,
    UriError,
)
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.made_datasets import dataset_of
from tests.fiftyone.places import Places
from tests.servers.process import free_ports
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey

SECRET = "deadbeef"


@pytest.fixture
def summaries(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Gives the adapter's own messages since the last call."""

    def messages() -> list[str]:
        found = [
            r.getMessage()
            for r in caplog.records
            if r.name == "fiftyone.core.cache" and r.levelname == "WARNING"
        ]
        caplog.clear()
        return found

    return messages


# 20 % of the keys are missing


@pytest.fixture
def holed(fo: Any, places: Places, photos: dict[str, bytes]) -> Any:
    """Twelve photographs in all places, and three in S3 and behind signed URLs that are not there."""
    dataset = dataset_of(fo, places.mixed(photos))
    signed = f"?X-Amz-Signature={SECRET}"
    gone = [f"{places.root('s3')}gone-1.jpg", f"{places.root('http')}gone-2.jpg{signed}"]
    gone.append(f"{places.root('s3')}gone-3.jpg")
    dataset.add_samples([fo.Sample(filepath=path) for path in gone])
    return dataset


def expected(dataset: Any, places: Places) -> str:
    ids = dataset.values("id")[-3:]
    s3, http = places.root("s3"), places.root("http")
    return (
        "3 of 12 media files could not be downloaded:\n"
        f"  {s3}gone-1.jpg: no such object (404 Not Found: NoSuchKey) (sample {ids[0]})\n"
        f"  {http}gone-2.jpg?…: no such object (404 Not Found) (sample {ids[1]})\n"
        f"  {s3}gone-3.jpg: no such object (404 Not Found: NoSuchKey) (sample {ids[2]})"
    )


def loop(dataset: Any, **arguments: Any) -> None:
    """A loop over local paths that goes on when there is none."""
    with dataset.download_context(batch_size=4, **arguments):
        for sample in dataset:
            try:
                assert Path(sample.local_path).exists()
            except ObjectNotFoundError:
                continue


def apply_model(dataset: Any, **arguments: Any) -> None:
    from tests.fiftyone.workflows.models import Plain

    dataset.apply_model(Plain(), label_field="predictions", **arguments)


def compute_embeddings(dataset: Any, **arguments: Any) -> None:
    from tests.fiftyone.workflows.models import Plain

    dataset.compute_embeddings(Plain(), embeddings_field="embeddings", **arguments)


WORKFLOWS = {
    "download_media": lambda dataset, **arguments: dataset.download_media(**arguments),
    "get_local_paths": lambda dataset, **arguments: dataset.get_local_paths(**arguments),
    "download_context": loop,
    "apply_model": apply_model,
    "compute_embeddings": compute_embeddings,
}


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_failures_that_are_skipped_are_summarized_once(
    workflow: str, holed: Any, places: Places, summaries: Callable[[], list[str]]
) -> None:
    WORKFLOWS[workflow](holed)

    assert summaries() == [expected(holed, places)]
    assert holed.cache_stats()["current_count"] == 9


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_the_first_failure_is_raised_and_names_the_sample(
    workflow: str, holed: Any, summaries: Callable[[], list[str]]
) -> None:
    with pytest.raises(ForebayError, match=r"gone-\d.jpg.*: no such object \(404") as raised:
        WORKFLOWS[workflow](holed, skip_failures=False)

    assert any(f"(sample {sample})" in str(raised.value) for sample in holed.values("id")[-3:])
    assert SECRET not in str(raised.value)
    assert summaries() == []


def test_what_could_be_had_has_been_worked_on(holed: Any) -> None:
    apply_model(holed)
    compute_embeddings(holed)

    assert [label is not None for label in holed.values("predictions.label")] == [True] * 12 + [False] * 3
    assert [vector is not None for vector in holed.values("embeddings")] == [True] * 12 + [False] * 3


def test_a_workflow_within_a_context_does_not_repeat_the_summary(
    holed: Any, places: Places, summaries: Callable[[], list[str]]
) -> None:
    with holed.download_context():
        apply_model(holed)

    assert summaries() == [expected(holed, places)]


def test_an_export_stops_at_the_first_sample_that_it_cannot_have(
    holed: Any, places: Places, tmp_path: Path, fo: Any, summaries: Callable[[], list[str]]
) -> None:
    """As it does for a local file that is missing: an export has no ``skip_failures``."""
    with pytest.raises(ObjectNotFoundError) as raised:
        holed.export(export_dir=str(tmp_path / "out"), dataset_type=fo.types.ImageDirectory)

    assert str(raised.value) == expected(holed, places).splitlines()[1].strip()
    assert summaries() == []


def test_a_long_list_of_failures_is_cut_short(
    fo: Any, places: Places, summaries: Callable[[], list[str]]
) -> None:
    root = places.root("s3")
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=f"{root}{number}.jpg") for number in range(100)])

    dataset.download_media()

    [message] = summaries()
    first, *named, rest = message.splitlines()
    assert first == "100 of 100 media files could not be downloaded:"
    assert [line.split(": ")[0].strip() for line in named] == [f"{root}{number}.jpg" for number in range(5)]
    assert rest == f"  … and 95 more: 95 in {root.rstrip('/')}"


def test_the_summary_is_printed(fo: Any, places: Places) -> None:
    """FiftyOne prints its log; so a notebook shows it."""
    program = (
        "import sys, fiftyone as fo; d = fo.Dataset(); "
        "d.add_sample(fo.Sample(filepath=sys.argv[1])); d.download_media(); d.delete()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"{places.root('s3')}gone.jpg"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.count("1 of 1 media files could not be downloaded:\n  s3://") == 1


def test_a_missing_scene_or_asset_is_named(
    remote_scenes: Any, places: Places, summaries: Callable[[], list[str]]
) -> None:
    sample = next(s for s in remote_scenes if s.filepath.startswith("s3://"))
    key = sample.filepath.removeprefix(places.root("s3"))
    places.s3_server.delete(places.s3_bucket, key.replace(".fo3d", "/cloud.pcd"))

    remote_scenes.download_media()
    [message] = summaries()
    assert f"/cloud.pcd: no such object (404 Not Found: NoSuchKey) (sample {sample.id})" in message

    remote_scenes.clear_media()
    places.s3_server.delete(places.s3_bucket, key)
    remote_scenes.download_media()
    [message] = summaries()
    assert message.splitlines()[1:] == [
        f"  {sample.filepath}: no such object (404 Not Found: NoSuchKey) (sample {sample.id})"
    ]


# Other things that go wrong


def sample_at(fo: Any, path: str) -> Any:
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath=path))
    return dataset.first()


def both(sample: Any, error: type[Exception]) -> tuple[str, str]:
    """The errors of ``local_path``, and those of ``download_media``."""
    with pytest.raises(error) as of_sample:
        assert sample.local_path
    with pytest.raises(DownloadError) as of_dataset:
        sample.dataset.download_media(skip_failures=False)
    return str(of_sample.value), str(of_dataset.value)


def test_access_denied(fo: Any, places: Places, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = places.put("s3", "private.jpg", b"private")
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3_server.stranger, strict=True):
        monkeypatch.setenv(name, value)
    sample = sample_at(fo, uri)

    messages = both(sample, AccessDeniedError)

    for message in messages:
        assert message.startswith(f"{uri}: access denied (403 Forbidden: AccessDenied)")
        assert "check that they may read it" in message
        assert s3_server.stranger[1] not in message
    assert messages[1].endswith(f"(sample {sample.id})")


def test_a_server_that_does_not_answer_is_not_waited_for_with_every_sample(
    fo: Any, use_cache: UseCache, summaries: Callable[[], list[str]]
) -> None:
    [port] = free_ports(1)
    use_cache(allowed_sources=f"http://127.0.0.1:{port}/", max_attempts=2)
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=f"http://127.0.0.1:{port}/{i}.jpg") for i in range(200)])

    dataset.download_media()

    [message] = summaries()
    assert message.startswith("200 of 200 media files could not be downloaded:\n")
    assert (
        f"http://127.0.0.1:{port}/0.jpg: cannot connect; check the host, the port and the network (sample "
        in message
    )
    with pytest.raises(ForebayError, match=r"not tried, as http://127\.0\.0\.1:\d+ has not answered for \d+"):
        assert dataset.last().local_path


def test_a_scheme_that_forebay_cannot_fetch(fo: Any, places: Places) -> None:
    """FiftyOne takes it for a relative path when the sample is made; set later, it stays as it is."""
    uri = "ftp://user:password@host/picture.jpg"
    sample = sample_at(fo, places.put("local", "local.jpg", b"local"))
    sample.filepath = uri
    sample.save()

    messages = both(sample, UriError)

    for message in messages:
        assert "'ftp://host/picture.jpg' has the scheme 'ftp', which Forebay cannot fetch" in message
    assert messages[1].endswith(f"(sample {sample.id})")
    assert sample.dataset.cache_stats()["current_count"] == 0
    sample.dataset.clear_media()


def test_a_bucket_that_is_not_allowed(fo: Any, places: Places, use_cache: UseCache) -> None:
    uri = places.put("s3", "photo.jpg", b"photo")
    use_cache(allowed_sources="s3://another-bucket/,gs://")
    sample = sample_at(fo, uri)

    messages = both(sample, SourceNotAllowedError)

    for message in messages:
        assert uri in message
        assert "allowed_sources" in message
    assert messages[1].endswith(f"(sample {sample.id})")


def test_a_full_cache_names_what_holds_the_space(
    remote_dataset: Any, places: Places, use_cache: UseCache
) -> None:
    remote = [uri for uri in remote_dataset.values("filepath") if "://" in uri]
    sizes = [len(places.contents[uri]) for uri in remote]
    cache = use_cache(cache_size_bytes=max(sizes) + 1)
    largest = remote[sizes.index(max(sizes))]
    cache.local_path(largest)
    other = remote_dataset[next(uri for uri in remote if uri != largest)]

    with cache.lease([largest], ttl=60, name="training"):
        with pytest.raises(CacheFullError) as raised:
            assert other.local_path
        message = str(raised.value)
        assert f"{other.filepath}: no room for" in message
        assert "leases (training) hold" in message
        assert message.endswith("end a lease, or raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES")
        needed = len(places.contents[other.filepath])
        assert (raised.value.needed, raised.value.limit) == (needed, max(sizes) + 1)
        assert raised.value.held == max(sizes)
        with pytest.raises(DownloadError, match=r"no room for .*; end a lease.*\(sample ") as of_job:
            remote_dataset.download_media(skip_failures=False)
        assert of_job.value.job
        assert of_job.value.failed >= len(of_job.value.failures) >= 1
    assert other.local_path


def test_redis_is_gone(remote_dataset: Any, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that concerns every sample is raised, not skipped as the failure of one sample."""
    local = next(s for s in remote_dataset if "://" not in s.filepath)
    valkey.stop()

    for work in (
        remote_dataset.download_media,
        remote_dataset.get_local_paths,
        remote_dataset.cache_stats,
        lambda: remote_dataset.first().local_path,
    ):
        with pytest.raises(IndexUnavailableError, match="Redis"):
            work()
    assert local.local_path == local.filepath


def test_a_broken_configuration_file(
    fo: Any, places: Places, photo_paths: list[Path], tmp_path: Path
) -> None:
    """FiftyOne is imported all the same, local samples work, and the first use says what is wrong."""
    settings = tmp_path / "media_cache_config.json"
    settings.write_text('{"cache_size_bytes": "plenty"}')
    program = f"""
import fiftyone as fo, json
d = fo.Dataset()
d.add_samples([fo.Sample(filepath=p) for p in {[str(p) for p in photo_paths]!r}])
d.compute_metadata()
assert d.get_local_paths() == d.values("filepath")
d.download_media()
with d.download_context():
    assert d.first().local_path == d.first().filepath
d.add_sample(fo.Sample(filepath="s3://bucket/key.jpg"))
said = []
for use in (lambda: d.download_media(), lambda: d.last().local_path, lambda: fo.media_cache.stats()):
    try:
        use()
    except Exception as error:
        said.append([type(error).__name__, str(error)])
d.delete()
print("=" + json.dumps(said))
"""
    environment = {"FIFTYONE_MEDIA_CACHE_CONFIG_PATH": str(settings)}

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**_without_cache_settings(), **environment},
        capture_output=True,
        text=True,
        check=True,
    )

    said = json.loads(done.stdout.rpartition("=[")[2].join(["[", ""]))
    assert len(said) == 3
    for kind, message in said:
        assert kind == ConfigError.__name__
        assert message.startswith(f"{settings}: cache_size_bytes='plenty' is not allowed")


def _without_cache_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_MEDIA_CACHE_")}
