"""Collecting the remote media of a samples collection from the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from forebay.fiftyone.deferred import fomr, fou3d
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import is_remote, is_scene
from forebay.fiftyone.nested_values import flatten
from forebay.fiftyone.remote_media import RemoteMedia
from forebay.fiftyone.version_differences import has_media_references
from forebay.lookahead.batch import is_fetchable
from forebay.uri import entry_of, is_local, remote_schemes

MediaFields = str | Iterable[str] | None
Slices = str | Iterable[str] | None


def collect_media(
    collection: Any,
    media_fields: MediaFields = None,
    group_slices: Slices = None,
    include_assets: bool = True,
    download: bool = True,
) -> RemoteMedia:
    """Collects the remote media of a dataset or view, in its order.

    Args:
        media_fields: by default every field that holds media: ``filepath``, those of the App's
            configuration, and the labels' masks and maps on disk, of frames as well.
        group_slices: of the groups of a grouped collection; by default all.
        include_assets: whether to include the files that the samples' 3D scenes refer to.
        download: whether to download scenes to read what they refer to; otherwise only cached scenes are
            read.

    Raises:
        ValueError: a field holds no media.
    """
    if has_media_references(collection):
        # These samples have no paths of their own; FiftyOne resolves them, or says that it cannot.
        paths = collection._get_media_paths(
            media_fields=media_fields, group_slices=group_slices, include_assets=include_assets, flat=False
        )
        return RemoteMedia([_remote(sample) for sample in paths])
    if collection._is_dynamic_groups:
        # A loop over samples gets one of each group, but a loop over groups gets all of them.
        collection = collection.flatten()
    fields = _fields(collection, media_fields)
    steps, samples, values = _rows(
        collection, [collection._parse_media_field(f)[0] for f in fields], group_slices
    )
    paths = [[value for value in flatten(row) if isinstance(value, str)] for row in zip(*values, strict=True)]
    if include_assets and "filepath" in fields:
        _add_assets(paths, download)
    return _by_step(steps, samples, [_remote(found) for found in paths])


def has_remote(collection: Any, media_fields: MediaFields) -> bool:
    """Whether the dataset behind a collection has any remote media in these fields.

    Asks the database, so that workflows over local media lose next to no time.
    """
    if has_media_references(collection):
        return False
    dataset = collection._dataset
    fields = [collection._parse_media_field(f)[0] for f in _fields(collection, media_fields)]
    return any(
        _has_remote_values(dataset._frame_collection, dataset._handle_db_fields([name], frames=True)[0])
        if is_frame_field
        else _has_remote_values(dataset._sample_collection, dataset._handle_db_fields([name])[0])
        for name, is_frame_field in map(collection._handle_frame_field, fields)
    )


def has_remote_recordings(collection: Any) -> bool:
    """Whether samples of the dataset behind a collection are parts of recordings that lie in buckets."""
    if not collection._contains_media_references():
        return False
    # Only the location of a source tells: of a whole bucket, the root that the dataset keeps is "s3:/".
    return any(is_remote(source["loc"]) for source in _sources(collection))


def _sources(collection: Any) -> Iterable[Any]:
    sources: dict[str, Any] = fomr._media_sources_by_id(collection._root_dataset)
    return sources.values()


def _has_remote_values(documents: Any, field_name: str) -> bool:
    # Ranges rather than a pattern: the index of `filepath` answers these at once.
    schemes = {way(scheme) for scheme, way in product(remote_schemes(), (str.lower, str.upper, str.title))}
    ranges = [{field_name: {"$gte": f"{scheme}://", "$lt": f"{scheme}:0"}} for scheme in sorted(schemes)]
    return documents.find_one({"$or": ranges}, {"_id": 1}) is not None


def _rows(
    collection: Any, fields: list[str], group_slices: Slices
) -> tuple[list[str], list[tuple[str, str]], list[list[Any]]]:
    """The steps of a loop over the collection; the step and id of each sample; the values of each field."""
    if collection.media_type != "group":
        ids, *values = collection.values(["id", *fields])
        return ids, [(sample, sample) for sample in ids], values
    group = f"{collection.group_field}.id"
    flat = collection.select_group_slices(slices=group_slices, _allow_mixed=True)
    ids, groups, *values = flat.values(["id", group, *fields])
    # Only the groups in which the active slice has a sample are iterated over.
    return collection.values(group), list(zip(groups, ids, strict=True)), values


def _by_step(
    steps: Iterable[str], samples: Iterable[tuple[str, str]], paths: Iterable[list[str]]
) -> RemoteMedia:
    positions = {step: number for number, step in enumerate(steps)}
    found: list[list[str]] = [[] for _ in positions]
    owners: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for (step, sample), uris in zip(samples, paths, strict=True):
        number = positions.get(step)
        if number is None:
            continue
        numbers[sample] = number
        found[number] += uris
        for uri in uris:
            owners.setdefault(uri, sample)
    return RemoteMedia([list(dict.fromkeys(uris)) for uris in found], owners, numbers)


def _fields(collection: Any, media_fields: MediaFields) -> list[str]:
    if isinstance(media_fields, str):
        return [media_fields]
    if media_fields is not None:
        return list(media_fields)
    fields = list(collection._get_media_fields())
    if collection._contains_videos(any_slice=True):
        fields += [f"frames.{name}" for name in collection._get_media_fields(frames=True)]
    return fields


def _remote(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if "://" in path and (is_remote(path) or not is_local(path))]


def _add_assets(paths: Sequence[list[str]], download: bool) -> None:
    """Adds to each sample's paths the files that its scenes refer to."""
    scenes = list(dict.fromkeys(path for sample in paths for path in sample if is_scene(path)))
    remote = [scene for scene in scenes if is_remote(scene)]
    if download and remote:
        # Scenes that fail here fail again, and are reported, when the caller downloads its media.
        media_cache().get_local_paths(remote, progress=False)
    readable = [scene for scene in scenes if not is_remote(scene) or _is_cached(scene)]
    if readable:
        assets = fou3d.get_scene_asset_paths(readable, abs_paths=True, skip_failures=True, progress=False)
        for sample in paths:
            sample += [asset for path in sample for asset in assets.get(path, ())]


def _is_cached(uri: str) -> bool:
    return is_fetchable(uri) and media_cache().engine.files.locate(entry_of(uri)) is not None
