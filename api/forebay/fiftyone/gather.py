"""Finding the remote media of a samples collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from forebay.fiftyone.media import is_remote, media_cache
from forebay.fiftyone.remote_media import RemoteMedia, is_scene
from forebay.lookahead.batch import is_fetchable
from forebay.uri import REMOTE_SCHEMES, entry_of, is_local

MediaFields = str | Iterable[str] | None
Slices = str | Iterable[str] | None


def media_of(
    collection: Any,
    media_fields: MediaFields = None,
    group_slices: Slices = None,
    include_assets: bool = True,
    download: bool = True,
) -> RemoteMedia:
    """The remote media of a dataset or view, in its order.

    Args:
        media_fields: by default every field that holds media: ``filepath``, those of the App's
            configuration, and the labels' masks and maps on disk, of frames as well.
        group_slices: of the groups of a grouped collection; by default all.
        include_assets: what the samples' 3D scenes refer to, as well.
        download: whether to download scenes in order to see what they refer to; otherwise only those
            that are cached are looked at.

    Raises:
        ValueError: a field holds no media.
    """
    if collection._contains_media_references():
        # These have no paths of their own; FiftyOne says what can be done with them.
        paths = collection._get_media_paths(
            media_fields=media_fields, group_slices=group_slices, include_assets=include_assets, flat=False
        )
        return RemoteMedia([_remote(sample) for sample in paths])
    if collection._is_dynamic_groups:
        # A loop over these gets one sample of each group, and loops over the groups get all.
        collection = collection.flatten()
    fields = _fields(collection, media_fields)
    steps, samples, values = _rows(
        collection, [collection._parse_media_field(f)[0] for f in fields], group_slices
    )
    paths = [_strings(row) for row in zip(*values, strict=True)]
    if include_assets and "filepath" in fields:
        _add_assets(paths, download)
    return _gathered(steps, samples, [_remote(found) for found in paths])


def has_remote(collection: Any, media_fields: MediaFields) -> bool:
    """Whether the dataset behind a collection has any remote media in these fields.

    A question to the database, so that collections of local media cost a workflow next to nothing.
    """
    if collection._contains_media_references():
        return False
    dataset = collection._dataset
    fields = [collection._parse_media_field(f)[0] for f in _fields(collection, media_fields)]
    return any(
        _finds(dataset._frame_collection, dataset._handle_db_fields([name], frames=True)[0])
        if is_frame_field
        else _finds(dataset._sample_collection, dataset._handle_db_fields([name])[0])
        for name, is_frame_field in map(collection._handle_frame_field, fields)
    )


def _finds(documents: Any, field_name: str) -> bool:
    # Ranges rather than a pattern: the index of `filepath` answers these at once.
    schemes = {way(scheme) for scheme, way in product(REMOTE_SCHEMES, (str.lower, str.upper, str.title))}
    ranges = [{field_name: {"$gte": f"{scheme}://", "$lt": f"{scheme}:0"}} for scheme in sorted(schemes)]
    return documents.find_one({"$or": ranges}, {"_id": 1}) is not None


def _rows(
    collection: Any, fields: list[str], group_slices: Slices
) -> tuple[list[str], list[tuple[str, str]], list[list[Any]]]:
    """The steps of a loop over the collection; of each sample the step and its own id; its values."""
    if collection.media_type != "group":
        ids, *values = collection.values(["id", *fields])
        return ids, [(sample, sample) for sample in ids], values
    group = f"{collection.group_field}.id"
    flat = collection.select_group_slices(slices=group_slices, _allow_mixed=True)
    ids, groups, *values = flat.values(["id", group, *fields])
    # Only the groups in which the active slice has a sample are iterated over.
    return collection.values(group), list(zip(groups, ids, strict=True)), values


def _gathered(
    steps: Iterable[str], samples: Iterable[tuple[str, str]], paths: Iterable[list[str]]
) -> RemoteMedia:
    places = {step: number for number, step in enumerate(steps)}
    found: list[list[str]] = [[] for _ in places]
    owners: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for (step, sample), uris in zip(samples, paths, strict=True):
        number = places.get(step)
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


def _strings(values: Any) -> list[str]:
    """The strings in lists of any depth: fields of lists, and of frames."""
    if isinstance(values, str):
        return [values]
    if isinstance(values, list | tuple):
        return [text for value in values for text in _strings(value)]
    return []


def _remote(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if "://" in path and (is_remote(path) or not is_local(path))]


def _add_assets(paths: Sequence[list[str]], download: bool) -> None:
    """Adds to each sample's paths what its scenes refer to."""
    import fiftyone.utils.utils3d as fou3d

    scenes = list(dict.fromkeys(path for sample in paths for path in sample if is_scene(path)))
    remote = [scene for scene in scenes if is_remote(scene)]
    if download and remote:
        # Whoever downloads what is found here sees, and says, which scenes cannot be had.
        media_cache().get_local_paths(remote, progress=False)
    at_hand = [scene for scene in scenes if not is_remote(scene) or _is_cached(scene)]
    if at_hand:
        assets = fou3d.get_scene_asset_paths(at_hand, abs_paths=True, skip_failures=True, progress=False)
        for sample in paths:
            sample += [asset for path in sample for asset in assets.get(path, ())]


def _is_cached(uri: str) -> bool:
    return is_fetchable(uri) and media_cache().engine.files.locate(entry_of(uri)) is not None
