"""The record of the index that a volume belongs to: ``<cache_dir>/.forebay/volume.json``."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from forebay import processes
from forebay.errors import VolumeError
from forebay.new_directories import make_directories

_FIELDS = {"kind", "index_id", "host", "url_masked", "created"}
# Not in records of before it was written down.
_LATER_FIELDS = {"volume"}


@dataclass(frozen=True, slots=True)
class Owner:
    """The index that a volume belongs to.

    Attributes:
        kind: whether it is embedded or a Redis of the user's.
        index_id: the index's id (a key inside it holds the same).
        host: the machine that claimed the volume.
        url_masked: the Redis's URL without its password; empty when embedded.
        created: when the volume was claimed, in seconds since 1970.
        volume: the volume's name; empty in records of before it was written down.
    """

    kind: Literal["embedded", "redis"]
    index_id: str
    host: str = field(default_factory=processes.machine_name)
    url_masked: str = ""
    created: float = field(default_factory=time.time)
    volume: str = ""


def owner_path(cache_dir: str) -> str:
    """The path of the owner record."""
    return os.path.join(cache_dir, ".forebay", "volume.json")


def read_owner(cache_dir: str) -> Owner | None:
    """The volume's owner; ``None`` when no index has claimed it yet.

    Raises:
        VolumeError: the record cannot be read.
    """
    path = owner_path(cache_dir)
    try:
        owner = _read(path)
        if owner is None:
            # Without hard links it is not written in one step: another process may be writing it.
            time.sleep(0.05)
            owner = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be read: {error.strerror}; fix its permissions", path=path
        ) from None
    if owner is None:
        raise VolumeError(
            f"{path} is damaged and does not say which index the volume belongs to: stop every program that "
            "uses the directory and delete the file",
            path=path,
        )
    return owner


def write_owner(cache_dir: str, owner: Owner) -> Owner:
    """Claims the volume for ``owner`` unless it has one; returns the owner that it then has.

    Of several processes that do this at the same time, on any hosts, one wins, and all get its record.

    Raises:
        VolumeError: the directory cannot be written, or the record cannot be read.
    """
    path = owner_path(cache_dir)
    draft = f"{path}.{os.urandom(8).hex()}"
    try:
        make_directories(os.path.dirname(path))
        with open(draft, "w") as file:
            json.dump(asdict(owner), file)
            file.flush()
            os.fsync(file.fileno())
        try:
            with contextlib.suppress(FileExistsError):
                _publish(draft, path)
        finally:
            os.unlink(draft)
    except OSError as error:
        raise VolumeError(
            f"the cache directory {cache_dir} cannot be used: {error.filename or path}: {error.strerror}; "
            "choose another with FIFTYONE_MEDIA_CACHE_DIR",
            path=cache_dir,
        ) from None
    return read_owner(cache_dir) or owner


def claim_volume(cache_dir: str, index_id: str, *, url_masked: str = "", volume: str = "") -> Owner:
    """Claims the volume for an index, or finds that it belongs to that index already.

    A record that has no name yet gets this one.

    Args:
        cache_dir: the volume's directory.
        index_id: the index's id.
        url_masked: the index's URL without its password; empty for the embedded one.
        volume: the volume's name.

    Raises:
        VolumeError: it belongs to another index, or has another name; the message says which, and how to
            share it.
    """
    mine = Owner("redis" if url_masked else "embedded", index_id, url_masked=url_masked, volume=volume)
    # Mostly it is there already: a full disk, or one that cannot be written, is no reason to refuse it.
    owner = read_owner(cache_dir) or write_owner(cache_dir, mine)
    if owner.url_masked == url_masked:
        check_name(cache_dir, owner, volume)
    if owner.index_id != index_id:
        raise conflict(cache_dir, owner)
    if volume and not owner.volume:
        owner = _name(cache_dir, owner, volume)
        check_name(cache_dir, owner, volume)
    return owner


def check_name(cache_dir: str, owner: Owner, volume: str) -> None:
    """Refuses a second name for a volume, under which its leases and its limit would not count.

    Raises:
        VolumeError: it has another name. The message tells which, and how to change it.
    """
    if owner.volume and volume and owner.volume != volume:
        of = f"the Redis {owner.url_masked}" if owner.kind == "redis" else "the embedded index"
        raise VolumeError(
            f"the directory {cache_dir} is the volume {owner.volume!r} of {of}, not {volume!r}: set "
            f"FIFTYONE_MEDIA_CACHE_VOLUME to {owner.volume}, or FIFTYONE_MEDIA_CACHE_DIR to another "
            "directory. To give the volume another name, stop every program that uses it and delete "
            f"{owner_path(cache_dir)}",
            volume=owner.volume,
            path=cache_dir,
        )


def conflict(cache_dir: str, owner: Owner) -> VolumeError:
    """The error of a process that uses the volume with another index than ``owner``'s."""
    if owner.kind == "redis":
        whose = f"the Redis {owner.url_masked}"
        share = "set FIFTYONE_MEDIA_CACHE_REDIS_URL to that Redis on every host"
    else:
        whose = f"the embedded index that was made on {owner.host}"
        share = "run one Redis and set FIFTYONE_MEDIA_CACHE_REDIS_URL to it on every host"
    return VolumeError(
        f"the volume {cache_dir} belongs to {whose}, and a volume has one index: to share it, {share}. To "
        f"hand it over to another index, stop every program that uses it and delete {owner_path(cache_dir)}",
        volume=owner.volume or None,
        path=cache_dir,
    )


def _name(cache_dir: str, owner: Owner, volume: str) -> Owner:
    """Adds the volume's name to its record; returns what is there then."""
    path = owner_path(cache_dir)
    draft = f"{path}.{os.urandom(8).hex()}"
    try:
        with open(draft, "w") as file:
            json.dump(asdict(replace(owner, volume=volume)), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be written: {error.strerror}; fix its permissions", volume=volume, path=path
        ) from None
    return read_owner(cache_dir) or owner


def _read(path: str) -> Owner | None:
    """The record, or ``None`` when it is damaged."""
    with open(path) as file:
        try:
            record = json.load(file)
        except ValueError:
            return None
    if not isinstance(record, dict) or not _FIELDS.issubset(record):
        return None
    return Owner(**{name: record[name] for name in _FIELDS | (_LATER_FIELDS & record.keys())})


def _publish(draft: str, path: str) -> None:
    """Gives the file its name.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with open(draft, "rb") as source, open(path, "xb") as target:
            target.write(source.read())
