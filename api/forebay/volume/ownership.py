"""A volume and its index belong together, and each says so.

The directory names its index and its volume (`forebay.embedded.Owner`), the index names its directory. A
directory with another index would lose track of its files, and under a second name be filled twice over
and lose what the first has leased; an index with another directory would promise files that are not there.
"""

from __future__ import annotations

from forebay.config import MediaCacheConfig, mask_url
from forebay.embedded import check_name, claim_volume, conflict, read_owner
from forebay.errors import VolumeError
from forebay.index import Index
from forebay.processes import location


def join(config: MediaCacheConfig, index: Index) -> None:
    """Makes sure that a volume's directory and index belong to each other.

    Raises:
        VolumeError: one of them belongs to another; the message says how to share or separate them.
    """
    url = "" if config.redis_url is None else mask_url(config.redis_url)
    known, directory = index.state.identity()
    owner = read_owner(config.cache_dir)
    same = owner is not None and (owner.url_masked == url if url else owner.kind == "embedded")
    if owner is not None and (same or known is not None):
        check_name(config.cache_dir, owner, config.volume)
    if known is None:
        # A new index, or one that was started empty: then the directory remembers its id, and its
        # files are added to the index again.
        if owner is not None and not same:
            # Refused before anything is written into an index that belongs to another directory, or to none.
            claim_volume(config.cache_dir, "", url_masked=url)
        known = index.state.settle(location(config.cache_dir), owner.index_id if owner else None)
    elif owner is None:
        if directory != location(config.cache_dir):
            raise VolumeError(
                f"the volume {config.volume!r} of {url or 'the embedded index'} is the directory "
                f"{directory}, not {config.cache_dir}: set FIFTYONE_MEDIA_CACHE_VOLUME to a name of its own "
                "for this directory, or FIFTYONE_MEDIA_CACHE_DIR to the shared one",
                volume=config.volume,
                path=config.cache_dir,
            )
        # The same directory, emptied by hand: recovery finds out that its files are gone.
        index.state.forget_recovery()
        index.entries.forget_all()
    if owner is None or (owner.index_id, owner.url_masked, owner.volume) != (known, url, config.volume):
        claim_volume(config.cache_dir, known, url_masked=url, volume=config.volume)


def is_shared(config: MediaCacheConfig, index: Index) -> bool:
    """Whether an index is that of a directory which this process may only read.

    Raises:
        VolumeError: the directory has another name.
    """
    known, _ = index.state.identity()
    owner = read_owner(config.cache_dir)
    if owner is None or known is None:
        return False
    check_name(config.cache_dir, owner, config.volume)
    return owner.index_id == known


def not_shared(config: MediaCacheConfig) -> VolumeError | None:
    """Why a process that may only read a directory cannot use it with its index, although others use it.

    Another directory, or other permissions, would not help it.

    Returns:
        ``None`` where no index has the directory, or only the embedded one.
    """
    owner = read_owner(config.cache_dir)
    url = "" if config.redis_url is None else mask_url(config.redis_url)
    if owner is None or owner.url_masked == url == "":
        return None
    if owner.url_masked != url:
        return conflict(config.cache_dir, owner)
    return VolumeError(
        f"the Redis {url} does not know the volume {config.volume!r} at {config.cache_dir}, so it was "
        "started empty, and this user can only read the volume: have the user that it belongs to start "
        "`forebay worker`, which adds the files again",
        volume=config.volume,
        path=config.cache_dir,
    )
