"""Errors carry data beside their text, also into another process."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import Any

import pytest

from forebay import errors
from forebay.config import MediaCacheConfig
from forebay.embedded._owner import Owner, write_owner
from forebay.embedded._start import ensure_running
from forebay.errors import (
    CacheFullError,
    ConfigError,
    CvatResponseError,
    DownloadError,
    Failure,
    FiftyOneError,
    ForebayError,
    JobNotFoundError,
    JobTimeoutError,
    LeaseNotFoundError,
    ManifestError,
    NoWorkersError,
    ObjectChangedError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    ReadOnlyError,
    SourceError,
    TransientSourceError,
    UriError,
    VolumeError,
)
from forebay.fetch.refusals import disk_error, too_large
from forebay.lookahead.batch import check_sizes
from forebay.manifests.manifest import read_manifest
from forebay.metrics.catalogue import REASONS
from forebay.sources import failures
from forebay.sources.allowlist import Allowlist
from forebay.uri import parse, parse_object

URI = parse("https://user:pw@h/a?token=1")
FAILURE = Failure("s3://b/a.jpg", "no such object", 1)
ERRORS: list[tuple[ForebayError, dict[str, object]]] = [
    (ConfigError("bad", setting="volume"), {"setting": "volume"}),
    (ConfigError("bad"), {"setting": None}),
    (UriError("bad", uri="s3://"), {"uri": "s3://", "kind": "bad_uri"}),
    (UriError("bad"), {"uri": None}),
    (ManifestError("broken", file="a.csv", line=3), {"file": "a.csv", "line": 3}),
    (ManifestError("broken"), {"file": None, "line": None}),
    (VolumeError("used", volume="night", path="/cache"), {"volume": "night", "path": "/cache"}),
    (VolumeError("used"), {"volume": None, "path": None}),
    (NoWorkersError("none", volume="night"), {"volume": "night"}),
    (NoWorkersError("none"), {"volume": None}),
    (CacheFullError("full", needed=10, limit=100, held=95), {"needed": 10, "limit": 100, "held": 95}),
    (CvatResponseError("refused", 400, "no"), {"status": 400, "detail": "no"}),
    (CacheFullError("full"), {"uri": None, "needed": None, "limit": None, "held": None, "errno": None}),
    (ObjectTooLargeError("large", size=9, limit=5), {"size": 9, "needed": 9, "limit": 5, "held": None}),
    (too_large(URI, 9, 5), {"uri": "https://h/a?…", "size": 9, "needed": 9, "limit": 5}),
    (
        disk_error(URI, OSError(errno.ENOSPC, "No space left"), 5),
        {"uri": "https://h/a?…", "limit": 5, "errno": errno.ENOSPC},
    ),
    (
        disk_error(URI, OSError(errno.EACCES, "Permission denied"), None),
        {"uri": "https://h/a?…", "limit": None, "errno": errno.EACCES},
    ),
    (FiftyOneError("old", version="1.9.0"), {"version": "1.9.0"}),
    (FiftyOneError("none"), {"version": None}),
    (JobNotFoundError("unknown", job="1f"), {"job": "1f"}),
    (JobTimeoutError("late", job="1f"), {"job": "1f"}),
    (LeaseNotFoundError("unknown", lease="train"), {"lease": "train"}),
    (DownloadError("failed", job="1f", failed=7, failures=[FAILURE]), {"failed": 7, "failures": (FAILURE,)}),
    (DownloadError("failed", failures=[FAILURE]), {"job": "", "failed": 1}),
    (SourceError("s3://b/a", "refused"), {"uri": "s3://b/a", "reason": "refused", "status": None}),
    (ObjectNotFoundError("s3://b/a", "none"), {"kind": "not_found", "transient": False, "attempts": 1}),
    (ReadOnlyError("s3://b/a", "it only reads"), {"errno": errno.EROFS, "transient": False}),
    (failures.refusal(parse("s3://b/a"), 403), {"kind": "access_denied", "status": 403}),
    (TransientSourceError("s3://b/a", "slow", "throttled"), {"kind": "throttled", "transient": True}),
    (ObjectChangedError("s3://b/a", "changed"), {"kind": "changed"}),
]


@pytest.mark.parametrize(("error", "data"), ERRORS, ids=lambda value: type(value).__name__)
def test_data_and_text_survive_the_way_to_another_process(
    error: ForebayError, data: dict[str, object]
) -> None:
    if isinstance(error, SourceError):
        error.attempts = 3
        data = {**data, "attempts": 3}

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    for name, value in data.items():
        assert getattr(error, name) == value
        assert getattr(copy, name) == value


def test_every_error_with_more_than_a_text_is_in_that_test() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    with_more = {kind for kind in kinds if issubclass(kind, ForebayError) and "__init__" in vars(kind)}

    tested = {kind for error, _ in ERRORS for kind in type(error).__mro__}

    assert {kind.__name__ for kind in with_more - tested} == set()


def test_every_kind_is_one_that_failures_are_counted_by() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]

    kinds = {value.kind for value in classes if issubclass(value, ForebayError)}

    assert kinds <= REASONS.keys()
    assert {"not_found", "access_denied", "not_allowed", "bad_uri", "too_large", "cache_full"} <= kinds


@pytest.mark.parametrize("status", [304, 400, 403, 404, 412, 429, 500])
def test_an_answer_that_is_no_success_gives_its_status(status: int) -> None:
    assert failures.refusal(parse("s3://bucket/key"), status).status == status


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"num_workers": 0}, "num_workers"),
        ({"nonsense": 1}, "nonsense"),
        ({"redis_url": "redis://h/0", "broker_url": "redis://h/0"}, None),
    ],
)
def test_an_error_of_a_setting_has_its_name(arguments: dict[str, Any], setting: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        MediaCacheConfig(**arguments)
    assert caught.value.setting == setting


@pytest.mark.parametrize(
    ("variable", "value", "setting"),
    [
        ("FIFTYONE_MEDIA_CACHE_SIZE_BYTES", "large", "cache_size_bytes"),
        ("FIFTYONE_MEDIA_CACHE_EXTRA_CLIENT_KWARGS", "{", "extra_client_kwargs"),
        ("FIFTYONE_MEDIA_CACHE_SIZE", "5", "FIFTYONE_MEDIA_CACHE_SIZE"),
        ("FIFTYONE_MEDIA_CACHE_CONFIG_PATH", "/none", "FIFTYONE_MEDIA_CACHE_CONFIG_PATH"),
    ],
)
def test_an_error_of_a_variable_has_the_name_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, setting: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        MediaCacheConfig()
    assert caught.value.setting == setting


def test_an_error_of_an_argument_has_its_name() -> None:
    with pytest.raises(ConfigError) as caught:
        check_sizes(0, None)
    assert caught.value.setting == "batch_size"
    with pytest.raises(ConfigError) as caught:
        Allowlist(["ftp://h/"])
    assert caught.value.setting == "allowed_sources"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("ftp://u:pw@h/a?token=1", "ftp://h/a?…"),
        ("https://u:pw@/a?token=1", "https:///a?…"),
        ("s3://bucket", "s3://bucket"),
    ],
)
def test_an_error_of_a_uri_has_it_without_secrets(uri: str, shown: str) -> None:
    with pytest.raises(UriError) as caught:
        parse_object(uri)
    assert caught.value.uri == shown


@pytest.mark.parametrize(("data", "line"), [(b"s3://b/a\nphoto.jpg\n\xff\n", 2), (b"\n", None)])
def test_an_error_of_a_manifest_has_its_file_and_the_first_broken_line(
    tmp_path: Path, data: bytes, line: int | None
) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    with pytest.raises(ManifestError) as caught:
        read_manifest(str(path))
    assert (caught.value.file, caught.value.line) == (str(path), line)


def test_an_error_of_a_manifest_that_is_missing_has_its_file(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest(f"{tmp_path}/list.txt")
    assert (caught.value.file, caught.value.line) == (f"{tmp_path}/list.txt", None)


def test_an_error_of_a_volume_has_its_name_and_directory(tmp_path: Path) -> None:
    write_owner(str(tmp_path), Owner("redis", "1f", url_masked="redis://h/0", volume="night"))
    with pytest.raises(VolumeError) as caught:
        ensure_running(str(tmp_path))
    assert (caught.value.volume, caught.value.path) == ("night", str(tmp_path))
