"""What CVAT is to load from a bucket: everything is checked here, before anything is created."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forebay.cvat import places
from forebay.cvat.errors import CvatError
from forebay.cvat.files import lines_of
from forebay.cvat.lines import images_of, video_of
from forebay.cvat.places import Place
from forebay.cvat.server import Server
from forebay.cvat.storages import Bucket, check_available, find_storage, get_storage
from forebay.cvat.tasks import is_turned_there_only
from forebay.errors import ManifestError, ObjectNotFoundError, UriError
from forebay.fiftyone.media import is_remote, media_cache
from forebay.uri import parse, redact

_SHOWN = 5
_STORES = ("s3", "gs", "minio")


@dataclass(frozen=True)
class CloudPlan:
    """What the tasks load.

    Attributes:
        storage_id: CVAT's number of the bucket.
        manifest: the key of the manifest in it, if there is one.
        keys: of the samples' URIs.
        sizes: width and height of each image, by its URI, where they are known.
        remedy: what to do if a size turns out to be another one, where that is something special.
    """

    storage_id: int
    manifest: str | None
    keys: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    remedy: tuple[str, ...] = ()


def plan_of(samples: Any, config: Any, server: Server) -> CloudPlan:
    """Makes sure that CVAT can load the samples from their bucket.

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
    if not is_video:
        _check_keys(uris, keys)
    manifest = _manifest(config.cloud_manifest, root, is_video)
    bucket = Bucket.of(root, media_cache().config)
    if config.cloud_storage_id is None:
        storage = find_storage(server, bucket)
    else:
        storage = get_storage(server, config.cloud_storage_id, bucket)
    check_available(server, storage, bucket)
    if is_video:
        if manifest is not None:
            _check_video(uris, manifest)
        return CloudPlan(storage.id, parse(manifest.path).key if manifest else None, keys)
    named = _check_manifest(uris, manifest) if manifest is not None else {}
    samples.compute_metadata()
    sizes = _sizes(samples, uris)
    unknown = [uri for uri in uris if uri not in sizes]
    if unknown:
        raise CvatError(
            f"the size of {_of(len(unknown), len(uris))} not known, because their headers cannot be read: "
            f"{_first(unknown)}. compute_metadata(skip_failures=False) says why"
        )
    remedy = _remedy(config.media_field)
    if manifest is not None:
        _check_sizes(uris, named, sizes, manifest, *remedy)
    return CloudPlan(storage.id, parse(manifest.path).key if manifest else None, keys, sizes, remedy)


def _common_bucket(uris: Sequence[Any]) -> str:
    """The URI of the bucket that all samples lie in."""
    elsewhere = [uri for uri in uris if not is_remote(uri) or not uri.lower().startswith(_schemes())]
    if elsewhere:
        raise CvatError(
            f"{_of(len(elsewhere), len(uris))} not in a bucket, so CVAT cannot load them itself: "
            f"{_first(elsewhere)}. Annotate them in a run of their own, without cloud_manifest, or upload "
            f"them to the bucket: fos.upload_media()"
        )
    roots = Counter(places.bucket_root(parse(uri)) for uri in uris)
    if len(roots) > 1:
        raise CvatError(
            f"the samples lie in {len(roots)} buckets, but CVAT's tasks load from one: "
            f"{', '.join(f'{root} ({number:,})' for root, number in roots.most_common(_SHOWN))}. Annotate a "
            f"view of each, such as dataset.match(F('filepath').starts_with({next(iter(roots))!r}))"
        )
    return next(iter(roots))


def _schemes() -> tuple[str, ...]:
    return tuple(f"{scheme}://" for scheme in _STORES)


def _check_keys(uris: Sequence[str], keys: Mapping[str, str]) -> None:
    if len(keys) < len(uris):
        twice = [uri for uri, number in Counter(uris).items() if number > 1]
        raise CvatError(
            f"{len(twice):,} of the images belong to several samples, but a task of CVAT's can have each "
            f"once: {_first(twice)}. Annotate a view without the duplicates"
        )
    slashes = [uri for uri in uris if keys[uri].startswith("/")]
    if slashes:
        raise CvatError(
            f"{_of(len(slashes), len(uris))} under keys that begin with a slash, which CVAT does not accept: "
            f"{_first(slashes)}"
        )


def _manifest(given: Any, root: str, is_video: bool) -> Place | None:
    if not given or (given is True and is_video):
        # CVAT opens a video to make a task of it, with a manifest or without.
        return None
    if given is True:
        return places.place_of(None, root)
    try:
        place = places.place_of(str(given), root)
    except UriError as error:
        raise CvatError(f"cloud_manifest: {error}") from None
    if place.is_local:
        raise CvatError(
            f"cloud_manifest={given!r} is a local file; CVAT reads the one in the bucket: pass its URI, or "
            f"True for {root}{places.FILE_NAME}"
        )
    found = places.bucket_root(parse(place.path))
    if found != root:
        raise CvatError(
            f"cloud_manifest={redact(place.path)!r} is in another bucket than the samples, which lie in "
            f"{root}"
        )
    return place


def _check_manifest(uris: Sequence[str], place: Place) -> dict[str, tuple[int, int]]:
    """The sizes of the samples' images in the manifest, which must have them all."""
    outside = [uri for uri in uris if place.name_of(uri) is None]
    if outside:
        raise CvatError(
            f"{_of(len(outside), len(uris))} outside {place.base}, the directory of the manifest, which "
            f"names only what is below it: {_first(outside)}. Use one at the root of the bucket: "
            f"{_making(uris)}"
        )
    wanted = {place.name_of(uri): uri for uri in uris}
    found: dict[str, tuple[int, int]] = {}
    shown = redact(place.path)
    try:
        for image in images_of(lines_of(place.path, media_cache()), shown):
            uri = wanted.get(image.name)
            if uri is None:
                continue
            if uri in found:
                raise CvatError(
                    f"{shown} names {image.name!r} twice, which CVAT does not accept. Make it anew: "
                    f"{_making(uris, place)} --anew"
                )
            found[uri] = image.width, image.height
    except ObjectNotFoundError:
        raise CvatError(f"there is no manifest {shown}. Make it: {_making(uris, place)}") from None
    except ManifestError as error:
        raise CvatError(f"{error}. Make it anew: {_making(uris, place)} --anew") from None
    missing = [uri for uri in uris if uri not in found]
    if missing:
        raise CvatError(
            f"{_of(len(missing), len(uris))} not in {shown}: {_first(missing)}. Add them: "
            f"{_making(missing, place)}"
        )
    return found


def _check_video(uris: Sequence[str], place: Place) -> None:
    shown = redact(place.path)
    try:
        name = video_of(lines_of(place.path, media_cache()), shown)
    except ObjectNotFoundError:
        raise CvatError(
            f"there is no manifest {shown}. Make it: forebay cvat manifest {uris[0]} -o {shown}"
        ) from None
    except ManifestError as error:
        raise CvatError(f"{error}. CVAT reads videos without one, too: pass cloud_manifest=True") from None
    if any(place.name_of(uri) != name for uri in uris):
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
    place: Place,
    remedy: str | None = None,
) -> None:
    turned = [uri for uri in uris if is_turned_there_only(uri, named[uri], sizes[uri])]
    if turned:
        raise CvatError(
            f"{_of(len(turned), len(uris))} turned by CVAT, as EXIF data say, but not by FiftyOne, which "
            f"turns JPEG images only, so labels would end up in the wrong places: {_first(turned)}. Save "
            f"them upright, without an EXIF orientation, run compute_metadata(overwrite=True), and make the "
            f"manifest anew: {_making(uris, place)} --anew"
        )
    wrong = [uri for uri in uris if sizes[uri] != named[uri]]
    if wrong:
        first = wrong[0]
        (width, height), (there, down) = sizes[first], named[first]
        remedy = remedy or (
            f"Run compute_metadata(overwrite=True), and make the manifest anew: {_making(uris, place)} --anew"
        )
        raise CvatError(
            f"{_of(len(wrong), len(uris))} of another size in {redact(place.path)} than in their metadata, "
            f"so labels would end up in the wrong places: {redact(first)} is {there}x{down} there and "
            f"{width}x{height} here. {remedy}"
        )


def _remedy(media_field: str) -> tuple[str, ...]:
    if media_field == "filepath":
        return ()
    return (
        f"FiftyOne places labels by the metadata of the images in filepath: those in {media_field} must have "
        f"the same sizes",
    )


def _of(number: int, all_of: int) -> str:
    return f"{number:,} of the {all_of:,} samples {'is' if number == 1 else 'are'}"


def _first(uris: Sequence[Any]) -> str:
    shown = ", ".join(redact(str(uri)) for uri in uris[:_SHOWN])
    return f"{shown}, …" if len(uris) > _SHOWN else shown


def _making(uris: Sequence[str], place: Place | None = None) -> str:
    """The command that puts images into the manifest: all of the directory that they have in common."""
    common = []
    for names in zip(*(uri.split("/")[:-1] for uri in uris), strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    directory = "/".join(common) + "/"
    words = ["forebay", "cvat", "manifest", directory]
    if place is not None and place.path != f"{places.bucket_root(parse(directory))}{places.FILE_NAME}":
        words += ["-o", redact(place.path)]
    return shlex.join(words)
