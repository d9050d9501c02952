"""The record of which index a volume belongs to: the first one that claims it, and everybody is told."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from forebay.embedded import Owner, claim_volume, owner_path, read_owner, write_owner
from forebay.errors import VolumeError


def test_a_volume_belongs_to_nobody_at_first(tmp_path: Path) -> None:
    assert read_owner(str(tmp_path)) is None
    assert read_owner(str(tmp_path / "missing")) is None


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    owner = Owner("redis", "an-id", "gpu-1", "redis://r.example/0", 1700000000.5)

    assert write_owner(str(tmp_path), owner) == owner
    assert read_owner(str(tmp_path)) == owner
    assert os.listdir(tmp_path / ".forebay") == ["volume.json"]


def test_the_first_owner_stays(tmp_path: Path) -> None:
    first = write_owner(str(tmp_path), Owner("embedded", "first"))

    assert write_owner(str(tmp_path), Owner("embedded", "second")) == first
    assert claim_volume(str(tmp_path), "first") == first


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first = write_owner(str(tmp_path), Owner("embedded", "first"))

    assert first.index_id == "first"
    assert write_owner(str(tmp_path), Owner("embedded", "second")) == first
    assert os.listdir(tmp_path / ".forebay") == ["volume.json"]


def _claim(cache_dir: str, index_id: str, ready: object, winners: multiprocessing.Queue[str]) -> None:
    ready.wait()  # type: ignore[attr-defined]
    winners.put(write_owner(cache_dir, Owner("embedded", index_id)).index_id)


def test_of_many_that_claim_at_the_same_time_one_wins_and_all_know(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, winners = context.Barrier(8), context.Queue()
    arguments = [(str(tmp_path), f"index-{number}", ready, winners) for number in range(8)]
    children = [context.Process(target=_claim, args=each) for each in arguments]
    for child in children:
        child.start()

    told = {winners.get(timeout=20) for _ in children}

    for child in children:
        child.join()
    owner = read_owner(str(tmp_path))
    assert owner is not None
    assert told == {owner.index_id}


def test_another_embedded_index_is_refused(tmp_path: Path) -> None:
    write_owner(str(tmp_path), Owner("embedded", "theirs", host="gpu-1-abcdef01"))

    with pytest.raises(VolumeError) as caught:
        claim_volume(str(tmp_path), "mine")

    assert str(caught.value) == (
        f"the volume {tmp_path} belongs to the embedded index that was made on gpu-1-abcdef01, and a volume "
        "has one index: to share it, run one Redis and set FIFTYONE_MEDIA_CACHE_REDIS_URL to it on every "
        "host. To hand it over to another index, stop every program that uses it and delete "
        f"{tmp_path}/.forebay/volume.json"
    )


def test_another_redis_is_refused(tmp_path: Path) -> None:
    claim_volume(str(tmp_path), "theirs", url_masked="redis://:***@one.example/0")

    with pytest.raises(VolumeError, match=r"belongs to the Redis redis://:\*\*\*@one\.example/0, and"):
        claim_volume(str(tmp_path), "mine", url_masked="redis://:***@two.example/0")


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"kind": "embedded"})])
def test_a_damaged_record_is_not_overwritten(tmp_path: Path, text: str) -> None:
    path = Path(owner_path(str(tmp_path)))
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(VolumeError, match=f"{path} is damaged .* delete the file"):
        claim_volume(str(tmp_path), "mine")
    assert path.read_text() == text


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(VolumeError, match=r"/file/cache cannot be used: .*FIFTYONE_MEDIA_CACHE_DIR"):
        claim_volume(str(tmp_path / "file" / "cache"), "mine")
