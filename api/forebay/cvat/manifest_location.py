"""Where a manifest lies, and how it names the media below its directory."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.cvat.media_names import is_canonical
from forebay.errors import UriError
from forebay.manifests.prefixes import is_prefix
from forebay.uri import MediaURI, canonical_uri, is_local, local_file, parse, parse_object, redact

MANIFEST_NAME = "manifest.jsonl"


@dataclass(frozen=True)
class ManifestLocation:
    """The location of one manifest.

    Attributes:
        path: the manifest's URI, or local path.
        base: the URI of the directory that its names are relative to; ends with a slash.
    """

    path: str
    base: str

    @property
    def is_local(self) -> bool:
        return is_local(self.path)

    def name_of(self, uri: str) -> str | None:
        """The name of an object in the manifest; ``None`` for one outside the manifest's directory."""
        uri = canonical_uri(uri)
        return uri[len(self.base) :] if uri.startswith(self.base) and len(uri) > len(self.base) else None


def locate_manifest(output: str | None, example: str, root: str | None = None) -> ManifestLocation:
    """Determines where a manifest lies.

    Args:
        output: its URI, a directory's ending in ``/``, or a local path; by default ``manifest.jsonl`` at
            the root of the bucket.
        example: the URI of any object in the bucket, or of the bucket.
        root: for a local manifest, the directory that it will lie in; by default the bucket's root.

    Raises:
        UriError: one of them cannot be parsed, or is in no bucket.
    """
    bucket = bucket_root(parse_in_bucket(example))
    if output is None:
        return ManifestLocation(bucket + MANIFEST_NAME, bucket)
    if is_local(output):
        path = local_file(output)
        return ManifestLocation(path, bucket if root is None else f"{root.rstrip('/')}/")
    output = canonical_uri(output)
    if is_prefix(output):
        output = f"{output.rstrip('/')}/{MANIFEST_NAME}"
    parsed = parse_in_bucket(output)
    if not parsed.key.endswith(".jsonl"):
        shown = redact(output)
        raise UriError(f"{shown!r} does not end in .jsonl, by which CVAT knows a manifest", uri=shown)
    if not is_canonical(parsed.key):
        shown = redact(output)
        raise UriError(
            f"{shown!r} has an empty part, '.' or '..' between its slashes, which CVAT does not accept: "
            f"write the manifest elsewhere",
            uri=shown,
        )
    return ManifestLocation(output, f"{bucket_root(parsed)}{parsed.key[: parsed.key.rfind('/') + 1]}")


def bucket_root(uri: MediaURI) -> str:
    """The URI of a bucket, without an alias; ends with a slash."""
    return f"{uri.scheme}://{uri.bucket}/"


def parse_in_bucket(uri: str) -> MediaURI:
    """Parses the URI of a bucket, or of something in one.

    Raises:
        UriError: it cannot be parsed, or is the URL of a web server.
    """
    parsed = parse(uri) if is_prefix(uri) else parse_object(uri)
    if parsed.is_url:
        shown = redact(uri)
        raise UriError(
            f"{shown!r} is in no bucket: CVAT reads s3://, gs://, minio:// and az:// URIs", uri=shown
        )
    return parsed
