"""Planning what CVAT loads from a bucket, and checking all of it before anything is created."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forebay.config.sizes import count
from forebay.cvat.buckets import CloudBucket
from forebay.cvat.cloud_storages import check_available, find_storage, get_storage
from forebay.cvat.manifest_files import read_lines
from forebay.cvat.manifest_format import read_images, read_video_name
from forebay.cvat.manifest_location import MANIFEST_NAME, ManifestLocation, bucket_root, locate_manifest
from forebay.cvat.media_names import CONTEXT_DIRECTORY, is_canonical, is_context
from forebay.cvat.orientations import find_turned, is_rotated_by_cvat_only, is_tiff
from forebay.cvat.server import CvatServer
from forebay.cvat.video_lengths import read_lengths
from forebay.errors import CvatError, ManifestError, ObjectNotFoundError, UriError
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import is_remote
from forebay.uri import STORES, canonical_uri, parse, redact, shown

_MAX_SHOWN = 5
_ROTATED = (
    "rotated by CVAT (EXIF) but not by FiftyOne, which rotates JPEG images only, so labels would end up in "
    "the wrong places"
)


@dataclass(frozen=True)
class CloudPlan:
    """The cloud storage, manifest and objects that the tasks of one annotation run load.

    Attributes:
        storage_id: CVAT's number of the cloud storage.
        manifest: the key of the manifest in it, if there is one.
        keys: the key of each sample's object, by its URI.
        sizes: width and height of each image, by its URI, where they are known.
        remedy: for `check_frames`, what to do if a size differs, unless its default fits.
        lengths: the number of frames of each video, by its URI, where its index has it.
    """

    storage_id: int
    manifest: str | None
    keys: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    remedy: tuple[str, ...] = ()
    lengths: Mapping[str, int] = field(default_factory=dict)


def make_plan(samples: Any, config: Any, server: CvatServer) -> CloudPlan:
    """Plans a run; checks that CVAT can load the samples from their bucket.

    Raises:
        CvatError: it cannot; the message says why, and what to do.
        SourceError: the manifest cannot be read.
    """
    if samples.media_type not in ("image", "video"):
        raise CvatError(
            f"CVAT loads images and videos from a bucket, but these samples are of type "
            f"{samples.media_type!r}; leave out cloud_manifest and cloud_storage_id, and they are uploaded"
        )
    uris: list[Any] = samples.values(config.media_field)
    root = _common_bucket(uris)
    keys = {uri: parse(uri).key for uri in uris}
    is_video = samples.media_type == "video"
    _check_keys(uris, keys)
    if not is_video:
        _check_frames_of_images(uris, keys)
    manifest = _manifest(config.cloud_manifest, root, is_video)
    bucket = CloudBucket.of(root, media_cache().config)
    if config.cloud_storage_id is None:
        storage = find_storage(server, bucket)
    else:
        storage = get_storage(server, config.cloud_storage_id, bucket)
    check_available(server, storage, bucket)
    if is_video:
        if manifest is not None:
            _check_video(uris, manifest)
        lengths = read_lengths(media_cache(), uris)
        return CloudPlan(storage.id, parse(manifest.path).key if manifest else None, keys, lengths=lengths)
    if manifest is None:
        _check_turned(uris)
    named = _check_manifest(uris, manifest) if manifest is not None else {}
    samples.compute_metadata()
    sizes = _sizes(samples, uris)
    unknown = [uri for uri in uris if uri not in sizes]
    if unknown:
        raise CvatError(
            f"the size of {_how_many(len(unknown), len(uris))} not known, because their headers cannot be "
            f"read: {_examples(unknown)}. compute_metadata(skip_failures=False) says why"
        )
    remedy = _remedy(config.media_field)
    if manifest is not None:
        _check_sizes(uris, named, sizes, manifest, *remedy)
    return CloudPlan(storage.id, parse(manifest.path).key if manifest else None, keys, sizes, remedy)


def _common_bucket(uris: Sequence[Any]) -> str:
    """The URI of the one bucket that all samples lie in."""
    elsewhere = [
        uri for uri in uris if not is_remote(uri) or not canonical_uri(uri).lower().startswith(_schemes())
    ]
    if elsewhere:
        raise CvatError(
            f"{_how_many(len(elsewhere), len(uris))} not in a bucket, so CVAT cannot load them itself: "
            f"{_examples(elsewhere)}. Annotate them in a run of their own, without cloud_manifest, or upload "
            f"them to the bucket: fos.upload_media()"
        )
    roots = Counter(bucket_root(parse(uri)) for uri in uris)
    if len(roots) > 1:
        raise CvatError(
            f"the samples lie in {len(roots)} buckets, but CVAT's tasks load from one: "
            f"{', '.join(f'{root} ({number:,})' for root, number in roots.most_common(_MAX_SHOWN))}. "
            f"Annotate a view of each, such as "
            f"dataset.match(F('filepath').starts_with({next(iter(roots))!r}))"
        )
    return next(iter(roots))


def _schemes() -> tuple[str, ...]:
    return tuple(f"{scheme}://" for scheme in STORES)


def _check_keys(uris: Sequence[str], keys: Mapping[str, str]) -> None:
    refused = [uri for uri in uris if not is_canonical(keys[uri])]
    if refused:
        raise CvatError(
            f"{_how_many(len(refused), len(uris))} under keys that CVAT does not accept, as a part between "
            f"slashes is empty, '.' or '..': {_examples(refused)}. Copy them to other keys, and change the "
            f"samples"
        )


def _check_frames_of_images(uris: Sequence[str], keys: Mapping[str, str]) -> None:
    """Checks that each image becomes one frame."""
    if len(keys) < len(uris):
        twice = [uri for uri, number in Counter(uris).items() if number > 1]
        raise CvatError(
            f"{len(twice):,} of the images belong to several samples, but a task of CVAT's can have each "
            f"once: {_examples(twice)}. Annotate a view without the duplicates"
        )
    context = [uri for uri in uris if is_context(keys[uri])]
    if context:
        raise CvatError(
            f"{_how_many(len(context), len(uris))} in a directory {CONTEXT_DIRECTORY}/, whose images CVAT "
            f"shows beside others, not as frames: {_examples(context)}. Copy them to another directory, and "
            f"change the samples, or annotate a view without them"
        )


def _check_turned(uris: Sequence[str]) -> None:
    """Checks that CVAT, which opens images itself without a manifest, finds the sizes that FiftyOne has."""
    turned = find_turned(media_cache(), uris)
    tiffs = [uri for uri in turned if is_tiff(uri)]
    if tiffs:
        raise CvatError(
            f"{_how_many(len(tiffs), len(uris))} a TIFF image with an EXIF orientation of 5 to 8, whose "
            f"width and height CVAT exchanges once too often, unless a manifest has them: "
            f"{_examples(tiffs)}. Pass cloud_manifest=True; to make the manifest, run: {_make_command(uris)}"
        )
    if turned:
        raise CvatError(
            f"{_how_many(len(turned), len(uris))} {_ROTATED}: {_examples(turned)}. Save them upright, "
            f"without an EXIF orientation, and run compute_metadata(overwrite=True)"
        )


def _manifest(given: Any, root: str, is_video: bool) -> ManifestLocation | None:
    if not given or (given is True and is_video):
        # CVAT opens a video to make a task of it, with a manifest or without.
        return None
    if given is True:
        return locate_manifest(None, root)
    try:
        location = locate_manifest(str(given), root)
    except UriError as error:
        raise CvatError(f"cloud_manifest: {error}") from None
    if location.is_local:
        raise CvatError(
            f"cloud_manifest={shown(given)} is a local file; CVAT reads the one in the bucket: pass its URI, "
            f"or True for {root}{MANIFEST_NAME}"
        )
    found = bucket_root(parse(location.path))
    if found != root:
        raise CvatError(
            f"cloud_manifest={shown(location.path)} is in another bucket than the samples, which lie in "
            f"{root}"
        )
    return location


def _check_manifest(uris: Sequence[str], location: ManifestLocation) -> dict[str, tuple[int, int]]:
    """Reads the sizes of the samples' images from the manifest, which must name all of them."""
    outside = [uri for uri in uris if location.name_of(uri) is None]
    if outside:
        raise CvatError(
            f"{_how_many(len(outside), len(uris))} outside {location.base}, the directory of the manifest, "
            f"which names only what is below it: {_examples(outside)}. Use one at the root of the bucket: "
            f"{_make_command(uris)}"
        )
    wanted = {location.name_of(uri): uri for uri in uris}
    found: dict[str, tuple[int, int]] = {}
    shown = redact(location.path)
    try:
        for image in read_images(read_lines(location.path, media_cache()), shown):
            uri = wanted.get(image.name)
            if uri is None:
                continue
            if uri in found:
                raise CvatError(
                    f"{shown} names {image.name!r} twice, so CVAT would make two frames of it. Rebuild it: "
                    f"{_make_command(uris, location)} --anew"
                )
            found[uri] = image.width, image.height
    except ObjectNotFoundError:
        raise CvatError(f"there is no manifest {shown}. Make it: {_make_command(uris, location)}") from None
    except ManifestError as error:
        raise CvatError(f"{error}. Rebuild it: {_make_command(uris, location)} --anew") from None
    missing = [uri for uri in uris if uri not in found]
    if missing:
        raise CvatError(
            f"{_how_many(len(missing), len(uris))} not in {shown}: {_examples(missing)}. Add them: "
            f"{_make_command(missing, location)}"
        )
    return found


def _check_video(uris: Sequence[str], location: ManifestLocation) -> None:
    shown = redact(location.path)
    try:
        name = read_video_name(read_lines(location.path, media_cache()), shown)
    except ObjectNotFoundError:
        raise CvatError(
            f"there is no manifest {shown}. Make it: forebay cvat manifest {uris[0]} -o {shown}"
        ) from None
    except ManifestError as error:
        raise CvatError(f"{error}. CVAT reads videos without one, too: pass cloud_manifest=True") from None
    if any(location.name_of(uri) != name for uri in uris):
        raise CvatError(
            f"{shown} is the manifest of {name!r} alone; for several videos pass cloud_manifest=True, and "
            f"CVAT reads them without one"
        )


def _sizes(samples: Any, uris: Sequence[str]) -> dict[str, tuple[int, int]]:
    widths, heights = samples.values(["metadata.width", "metadata.height"])
    known = zip(uris, widths, heights, strict=True)
    return {uri: (width, height) for uri, width, height in known if width and height}


def _check_sizes(
    uris: Sequence[str],
    named: Mapping[str, tuple[int, int]],
    sizes: Mapping[str, tuple[int, int]],
    location: ManifestLocation,
    remedy: str | None = None,
) -> None:
    turned = [uri for uri in uris if is_rotated_by_cvat_only(uri, named[uri], sizes[uri])]
    if turned:
        raise CvatError(
            f"{_how_many(len(turned), len(uris))} {_ROTATED}: {_examples(turned)}. Save them upright, "
            f"without an EXIF orientation, run compute_metadata(overwrite=True), and rebuild the manifest: "
            f"{_make_command(uris, location)} --anew"
        )
    wrong = [uri for uri in uris if sizes[uri] != named[uri]]
    if wrong:
        first = wrong[0]
        (width, height), (there, down) = sizes[first], named[first]
        remedy = remedy or (
            f"Run compute_metadata(overwrite=True), and rebuild the manifest: "
            f"{_make_command(uris, location)} --anew"
        )
        raise CvatError(
            f"{_how_many(len(wrong), len(uris))} of another size in {redact(location.path)} than in their "
            f"metadata, so labels would end up in the wrong places: {redact(first)} is {there}x{down} "
            f"there and {width}x{height} here. {remedy}"
        )


def _remedy(media_field: str) -> tuple[str, ...]:
    if media_field == "filepath":
        return ()
    return (
        f"FiftyOne places labels by the metadata of the images in filepath: those in {media_field} must have "
        f"the same sizes",
    )


def _how_many(number: int, all_of: int) -> str:
    return f"{number:,} of the {count(all_of, 'sample')} {'is' if number == 1 else 'are'}"


def _examples(uris: Sequence[Any]) -> str:
    shown = ", ".join(redact(str(uri)) for uri in uris[:_MAX_SHOWN])
    return f"{shown}, …" if len(uris) > _MAX_SHOWN else shown


def _make_command(uris: Sequence[str], location: ManifestLocation | None = None) -> str:
    """The command that adds the images to the manifest, by the directory that they have in common."""
    common = []
    for names in zip(*(uri.split("/")[:-1] for uri in uris), strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    directory = "/".join(common) + "/"
    words = ["forebay", "cvat", "manifest", directory]
    if location is not None and location.path != f"{bucket_root(parse(directory))}{MANIFEST_NAME}":
        words += ["-o", redact(location.path)]
    return shlex.join(words)
