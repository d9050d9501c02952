"""Making a manifest of images without downloading them."""

from __future__ import annotations

import contextlib
import itertools
import mimetypes
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from forebay.cvat import places
from forebay.cvat.files import lines_of, publish
from forebay.cvat.lines import Image, header, images_of, line
from forebay.cvat.places import Place
from forebay.errors import ForebayError, ManifestError, ObjectNotFoundError, UriError
from forebay.manifests.listing import is_prefix
from forebay.threads import map_in_threads
from forebay.uri import parse, redact

if TYPE_CHECKING:
    from forebay.cache import MediaCache

# Waiting for the answers takes the time, not the CPU.
_THREADS = 32
_BATCH = 2048
# Enough for an image without a preview in it. More than that would, of many small images, be much.
_FIRST_BYTES = 2 << 10
_NAMED_FAILURES = 20
# EXIF turns these as well, but what FiftyOne knows of their sizes does not heed it.
_UNSURE = (".avif", ".heic", ".png", ".tif", ".tiff", ".webp")

for _type, _extension in (("image/webp", ".webp"), ("image/avif", ".avif"), ("image/heic", ".heic")):
    mimetypes.add_type(_type, _extension)


@dataclass
class Manifest:
    """What has become of a manifest.

    Attributes:
        path: its URI, or local path.
        added: how many images are new in it.
        kept: how many were in it before.
        gone: how many of these are no longer there, of those below the prefixes that were listed. They stay
            in the manifest.
        ignored: how many objects below a prefix are no images, by their names.
        failed: how many images could not be read, and are not in it.
        failures: the first of these, and why.
    """

    path: str
    added: int = 0
    kept: int = 0
    gone: int = 0
    ignored: int = 0
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    """One object; its size as it is shown, where that is known already."""

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
) -> Manifest:
    """Writes a manifest of images for CVAT, reading their headers only.

    What a FiftyOne collection knows of its samples' sizes is not read again, but for formats in which
    FiftyOne does not heed EXIF. Images follow in the order in which they are given, or listed; memory does
    not grow with their number.

    Args:
        media: the URI of a prefix (ending in ``/``, or a bucket alone) or of an image, several of them,
            or a FiftyOne dataset or view.
        output: where the manifest goes: a URI, or a local path; by default ``manifest.jsonl`` at the root
            of the bucket.
        root: for a local path, the URI of the directory in which the manifest will lie; by default the
            bucket's root.
        update: keep what is in the manifest and add what is new; false makes it anew, and so leaves out
            what is no longer there.
        cache: whose settings and credentials are used; `forebay.media_cache` by default.
        progress: told now and then how many images there are so far.

    Raises:
        UriError: a URI cannot be understood, is in no bucket, or outside the manifest's directory.
        ManifestError: there is no image, or the present manifest is broken.
        SourceError: the bucket cannot be listed, read or written.
    """
    if cache is None:
        import forebay

        cache = forebay.media_cache
    found = Manifest("")
    listed: list[str] = []
    objects = _objects(media, cache, found, listed)
    first = next(objects, None)
    if first is None:
        raise ManifestError(f"{_shown(media)}: there is no image, so there is nothing to make a manifest of")
    place = places.place_of(output, first.uri, root)
    found.path = place.path
    with tempfile.TemporaryDirectory(prefix="forebay-cvat-") as directory, _Seen(directory) as seen:
        path = os.path.join(directory, places.FILE_NAME)
        with open(path, "wb") as file:
            if update:
                _keep(place, cache, file, seen, found)
            if not found.kept:
                file.write(header())
            for batch in _batches(_new(itertools.chain([first], objects), place, seen)):
                for image in map_in_threads(
                    lambda item: _look(cache, item, found), batch, _THREADS, "forebay-headers"
                ):
                    if image is not None:
                        file.write(line(image))
                        found.added += 1
                if progress is not None:
                    progress(found.kept + found.added)
        if not found.kept + found.added:
            uri, reason = found.failures[0]
            raise ManifestError(f"none of the {found.failed:,} images can be read; {uri}: {reason}")
        found.gone = sum(_is_listed(place.base + name, listed) for name in seen.not_again())
        if found.added or not found.kept:
            with open(path, "rb") as whole:
                publish(whole, place.path, cache)
    return found


def _objects(media: Any, cache: MediaCache, found: Manifest, listed: list[str]) -> Iterator[_Found]:
    if hasattr(media, "iter_samples"):
        yield from _samples(media)
        return
    for uri in [media] if isinstance(media, str) else media:
        if not is_prefix(uri):
            places.in_bucket(uri)
            yield _Found(uri)
            continue
        parsed = places.in_bucket(uri)
        listed.append(uri)
        for info in cache.engine.sources.for_uri(parsed).list(parsed):
            if _is_image(info.uri):
                yield _Found(info.uri)
            # Manifests, and the empty objects by which consoles show directories, surprise nobody.
            elif not info.uri.endswith((".jsonl", "/")):
                found.ignored += 1


def _samples(collection: Any) -> Iterator[_Found]:
    """The samples of a FiftyOne collection, of all slices if it has any, straight from the database."""
    if collection.media_type == "group":
        collection = collection.select_group_slices(_allow_mixed=True)
    known = collection.has_field("metadata.width")
    for sample in collection.select_fields("metadata" if known else None).iter_samples():
        uri, metadata = sample.filepath, sample.metadata if known else None
        size = metadata and (metadata.width, metadata.height)
        sure = size and all(size) and not uri.lower().endswith(_UNSURE)
        places.in_bucket(uri)
        yield _Found(uri, size if sure else None)


def _new(objects: Iterable[_Found], place: Place, seen: _Seen) -> Iterator[tuple[_Found, str]]:
    """The objects that are not in the manifest yet, and what it calls them."""
    for item in objects:
        name = place.name_of(item.uri)
        if name is None:
            raise UriError(
                f"{redact(item.uri)} is outside {place.base}, the directory of the manifest, which names "
                f"only what is below it; write it to {places.bucket_root(parse(item.uri))}{places.FILE_NAME}"
            )
        if seen.add(name):
            yield item, name


def _look(cache: MediaCache, new: tuple[_Found, str], found: Manifest) -> Image | None:
    from forebay.headers.image_info import read_image_info
    from forebay.headers.media_files import open_media

    item, name = new
    if name.startswith("/"):
        _note(found, item.uri, "CVAT does not accept keys that begin with a slash")
        return None
    if item.size is not None:
        return Image(name, *item.size)
    try:
        with open_media(cache, item.uri, first_bytes=_FIRST_BYTES) as file:
            info = read_image_info(file)
    except (ForebayError, OSError) as error:
        reason = getattr(error, "reason", None) or f"not an image that Pillow knows ({type(error).__name__})"
        _note(found, item.uri, reason)
        return None
    size = (info.height, info.width) if info.is_turned else (info.width, info.height)
    return Image(name, *size)


def _note(found: Manifest, uri: str, reason: str) -> None:
    found.failed += 1
    if len(found.failures) < _NAMED_FAILURES:
        found.failures.append((redact(uri), reason))


def _keep(place: Place, cache: MediaCache, file: IO[bytes], seen: _Seen, found: Manifest) -> None:
    """Copies the present manifest, if there is one."""

    def copied() -> Iterator[bytes]:
        for text in lines_of(place.path, cache):
            file.write(text.rstrip(b"\r\n") + b"\n")
            yield text

    with contextlib.suppress(FileNotFoundError, ObjectNotFoundError):
        for image in images_of(copied(), redact(place.path)):
            seen.keep(image.name)
            found.kept += 1


class _Seen:
    """The names that are in the manifest: on disk, because there may be millions."""

    def __init__(self, directory: str) -> None:
        self._database = sqlite3.connect(os.path.join(directory, "names"), isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE names (name BLOB PRIMARY KEY, again INT) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def keep(self, name: str) -> None:
        """Notes a name of the present manifest."""
        self._insert(name, again=False)

    def add(self, name: str) -> bool:
        """Notes the name of an object; whether it is new."""
        if self._insert(name, again=True):
            return True
        self._database.execute("UPDATE names SET again = 1 WHERE name = ?", (_bytes(name),))
        return False

    def not_again(self) -> Iterator[str]:
        """The names that were kept and are those of no object."""
        for (name,) in self._database.execute("SELECT name FROM names WHERE again = 0"):
            yield name.decode("utf-8", "surrogateescape")

    def _insert(self, name: str, *, again: bool) -> bool:
        row = (_bytes(name), again)
        return self._database.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", row).rowcount == 1

    def __enter__(self) -> _Seen:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()


def _bytes(name: str) -> bytes:
    # Keys that are not valid UTF-8 come as surrogates, which SQLite does not take.
    return name.encode("utf-8", "surrogateescape")


def _is_listed(uri: str, prefixes: Iterable[str]) -> bool:
    """Whether an image would have been found below one of these prefixes."""
    return _is_image(uri) and any(uri.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes)


def _batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(items, _BATCH)):
        yield batch


def _is_image(uri: str) -> bool:
    return (mimetypes.guess_type(uri.rpartition("/")[2])[0] or "").startswith("image/")


def _shown(media: Any) -> str:
    if hasattr(media, "iter_samples"):
        return repr(media.name)
    if isinstance(media, str):
        return redact(media)
    if not isinstance(media, Sequence) or not media:
        return "the list"
    return redact(media[0]) + (f" and {len(media) - 1:,} more" if len(media) > 1 else "")
