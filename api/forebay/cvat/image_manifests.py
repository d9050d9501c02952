"""Writing a manifest of images without downloading them."""

from __future__ import annotations

import contextlib
import itertools
import mimetypes
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import forebay
from forebay.cache import MediaCache
from forebay.config.sizes import count
from forebay.cvat.manifest_files import read_lines, write_manifest
from forebay.cvat.manifest_format import ManifestImage, header_lines, image_line, read_images
from forebay.cvat.manifest_location import (
    MANIFEST_NAME,
    ManifestLocation,
    bucket_root,
    locate_manifest,
    parse_in_bucket,
)
from forebay.cvat.manifest_names import ManifestNames
from forebay.cvat.manifest_report import ManifestReport
from forebay.cvat.media_names import CONTEXT_DIRECTORY, is_canonical, is_context
from forebay.errors import ForebayError, ManifestError, ObjectNotFoundError, UriError
from forebay.headers.image_info import read_image_info
from forebay.headers.media_files import open_media
from forebay.manifests.prefixes import is_prefix
from forebay.threads import map_in_threads
from forebay.uri import parse, redact

# Reading a header waits for the network, not for the CPU.
_THREADS = 32
_BATCH = 2048
# Enough for an image without an embedded preview. Of many small images, more would be much in vain.
_FIRST_BYTES = 2 << 10
_MAX_FAILURES = 20
# CVAT turns these as their EXIF data say; FiftyOne's metadata has their sizes before that.
_UNRELIABLE_SIZES = (".avif", ".heic", ".png", ".tif", ".tiff", ".webp")

for _type, _extension in (("image/webp", ".webp"), ("image/avif", ".avif"), ("image/heic", ".heic")):
    mimetypes.add_type(_type, _extension)


@dataclass(frozen=True, slots=True)
class _FoundImage:
    """An image to name in the manifest.

    Attributes:
        size: width and height as the image is shown; ``None`` when its header must be read.
    """

    uri: str
    size: tuple[int, int] | None = None


def create_manifest(
    media: Any,
    output: str | None = None,
    *,
    root: str | None = None,
    update: bool = True,
    cache: MediaCache | None = None,
    progress: Callable[[int], object] | None = None,
) -> ManifestReport:
    """Writes a manifest of images for CVAT, reading only their headers.

    Sizes that a FiftyOne collection already has are not read again, except in formats whose EXIF
    orientation FiftyOne ignores. Images follow in the order in which they are given, or listed. Memory
    does not grow with their number.

    Args:
        media: the URI of a prefix (ending in ``/``, or a bucket alone) or of an image, several of them,
            or a FiftyOne dataset or view.
        output: where the manifest goes: a URI, or a local path; by default ``manifest.jsonl`` at the root
            of the bucket.
        root: for a local path, the URI of the directory in which the manifest will lie; by default the
            bucket's root.
        update: keep the images of the existing manifest and add new ones; false writes it anew, and so
            leaves out images that no longer exist.
        cache: whose settings and credentials are used; `forebay.media_cache` by default.
        progress: called now and then with the number of images so far.

    Raises:
        UriError: a URI cannot be parsed, is in no bucket, or outside the manifest's directory.
        ManifestError: there is no image, or the present manifest is broken.
        SourceError: the bucket cannot be listed, read or written.
    """
    if cache is None:
        cache = forebay.media_cache
    report = ManifestReport("")
    listed: list[str] = []
    images = _find_images(media, cache, report, listed)
    first = next(images, None)
    if first is None:
        only = f" outside of {CONTEXT_DIRECTORY}/" if report.context else ""
        raise ManifestError(
            f"{_shown(media)}: there is no image{only}, so there is nothing to make a manifest of"
        )
    location = locate_manifest(output, first.uri, root)
    report.path = location.path
    with (
        tempfile.TemporaryDirectory(prefix="forebay-cvat-") as directory,
        ManifestNames(directory) as names,
    ):
        path = os.path.join(directory, MANIFEST_NAME)
        with open(path, "wb") as file:
            if update:
                _copy_existing(location, cache, file, names, report)
            if not report.kept:
                file.write(header_lines())
            for batch in _batches(_only_new(itertools.chain([first], images), location, names)):
                for image in map_in_threads(
                    lambda item: _read_size(cache, item, report), batch, _THREADS, "forebay-headers"
                ):
                    if image is not None:
                        file.write(image_line(image))
                        report.added += 1
                if progress is not None:
                    progress(report.kept + report.added)
        if not report.kept + report.added:
            uri, reason = report.failures[0]
            raise ManifestError(
                f"none of the {count(report.failed, 'image')} can be read; {uri}: {reason}",
                file=redact(location.path),
            )
        report.gone = sum(_is_below(location.base + name, listed) for name in names.not_found_again())
        if report.added or not report.kept:
            with open(path, "rb") as whole:
                write_manifest(whole, location.path, cache)
    return report


def _find_images(
    media: Any, cache: MediaCache, report: ManifestReport, listed: list[str]
) -> Iterator[_FoundImage]:
    """Yields the images of ``media``; appends each prefix that it lists to ``listed``."""
    if hasattr(media, "iter_samples"):
        yield from _samples(media)
        return
    for uri in [media] if isinstance(media, str) else media:
        parsed = parse_in_bucket(uri)
        if not is_prefix(uri):
            yield _FoundImage(uri)
            continue
        listed.append(uri)
        for info in cache.engine.sources.for_uri(parsed).list(parsed):
            if _is_image(info.uri) and is_context(parse(info.uri).key):
                report.context += 1
            elif _is_image(info.uri):
                yield _FoundImage(info.uri)
            # Manifests, and the empty objects that consoles create for directories, are expected.
            elif not info.uri.endswith((".jsonl", "/")):
                report.ignored += 1


def _samples(collection: Any) -> Iterator[_FoundImage]:
    """The images of a FiftyOne collection's samples, in all slices of a grouped one."""
    if collection.media_type == "group":
        collection = collection.select_group_slices(_allow_mixed=True)
    has_sizes = collection.has_field("metadata.width")
    for sample in collection.select_fields("metadata" if has_sizes else None).iter_samples():
        uri, metadata = sample.filepath, sample.metadata if has_sizes else None
        size = metadata and (metadata.width, metadata.height)
        is_reliable = size and all(size) and not uri.lower().endswith(_UNRELIABLE_SIZES)
        parse_in_bucket(uri)
        yield _FoundImage(uri, size if is_reliable else None)


def _only_new(
    images: Iterable[_FoundImage], location: ManifestLocation, names: ManifestNames
) -> Iterator[tuple[_FoundImage, str]]:
    """The images that are not in the manifest yet, with their names in it."""
    for image in images:
        name = location.name_of(image.uri)
        if name is None:
            root = bucket_root(parse(image.uri))
            shown = redact(image.uri)
            raise UriError(
                f"{shown} is outside {location.base}, the directory of the manifest, which names only what "
                f"is below it; write it to {root}{MANIFEST_NAME}",
                uri=shown,
            )
        if names.add(name):
            yield image, name


def _read_size(
    cache: MediaCache, new: tuple[_FoundImage, str], report: ManifestReport
) -> ManifestImage | None:
    """The manifest's record of an image; ``None`` after noting why there is none."""
    image, name = new
    key = parse(image.uri).key
    if not is_canonical(key):
        why = "CVAT does not accept a key with an empty part, '.' or '..' between slashes"
        _note_failure(report, image.uri, f"{why}; copy it to another key")
        return None
    if is_context(key):
        why = f"CVAT shows the images in {CONTEXT_DIRECTORY}/ beside others, not as frames"
        _note_failure(report, image.uri, f"{why}; copy it to another directory")
        return None
    if image.size is not None:
        return ManifestImage(name, *image.size)
    try:
        with open_media(cache, image.uri, first_bytes=_FIRST_BYTES) as file:
            info = read_image_info(file)
    except (ForebayError, OSError) as error:
        reason = getattr(error, "reason", None) or f"not an image that Pillow knows ({type(error).__name__})"
        _note_failure(report, image.uri, reason)
        return None
    size = (info.height, info.width) if info.is_turned else (info.width, info.height)
    return ManifestImage(name, *size)


def _note_failure(report: ManifestReport, uri: str, reason: str) -> None:
    report.failed += 1
    if len(report.failures) < _MAX_FAILURES:
        report.failures.append((redact(uri), reason))


def _copy_existing(
    location: ManifestLocation,
    cache: MediaCache,
    file: IO[bytes],
    names: ManifestNames,
    report: ManifestReport,
) -> None:
    """Copies the existing manifest, if there is one, and notes its names."""

    def copied() -> Iterator[bytes]:
        for text in read_lines(location.path, cache):
            if text.strip():
                file.write(text.rstrip(b"\r\n") + b"\n")
            yield text

    with contextlib.suppress(FileNotFoundError, ObjectNotFoundError):
        for image in read_images(copied(), redact(location.path)):
            names.keep(image.name)
            report.kept += 1


def _is_below(uri: str, prefixes: Iterable[str]) -> bool:
    """Whether listing one of these prefixes would have found an image."""
    return _is_image(uri) and any(uri.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes)


def _batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(items, _BATCH)):
        yield batch


def _is_image(uri: str) -> bool:
    return (mimetypes.guess_type(uri.rpartition("/")[2])[0] or "").startswith("image/")


def _shown(media: Any) -> str:
    """The requested media, short enough for an error message."""
    if hasattr(media, "iter_samples"):
        return repr(media.name)
    if isinstance(media, str):
        return redact(media)
    if not isinstance(media, Sequence) or not media:
        return "the list"
    return redact(media[0]) + (f" and {len(media) - 1:,} more" if len(media) > 1 else "")
