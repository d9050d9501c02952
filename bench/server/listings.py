"""The listings of a bucket, written page by page before anyone asks: S3's XML, and the JSON of GCS."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path

from bench.corpus import Corpus

_PAGE = 1000
_MOMENT = "2026-01-01T00:00:00.000Z"


def write_listing(scratch: Path, corpus: Corpus) -> dict[str, int]:
    """Writes every page of a bucket's listing, good for both versions of the request to S3.

    Returns:
        the last key of each page but the last, with the number of the page after it: version 1 asks by
        that key, version 2 by a token, GCS by a token, too.
    """
    markers, keys = {}, list(corpus.md5)
    xml, google = scratch / ".pages" / corpus.bucket, scratch / ".gcs-pages" / corpus.bucket
    xml.mkdir(parents=True)
    google.mkdir(parents=True)
    for number, start in enumerate(range(0, len(keys), _PAGE)):
        page = keys[start : start + _PAGE]
        following = number + 1 if start + _PAGE < len(keys) else None
        (xml / str(number)).write_text(_xml(corpus, page, following))
        (google / str(number)).write_text(_json(corpus, page, following))
        if following is not None:
            markers[page[-1]] = following
    return markers


def write_maps(scratch: Path, corpora: Sequence[Corpus]) -> None:
    """Writes what nginx has to know of all buckets: the ETag of each object, and its pages."""
    markers: dict[str, int] = {}
    with (scratch / "etags").open("w") as etags:
        for corpus in corpora:
            markers |= write_listing(scratch, corpus)
            if corpus.served:
                etags.writelines(f"/{corpus.bucket}/{key} '\"{md5}\"';\n" for key, md5 in corpus.md5.items())
    lines = [f"~*marker={_in_a_query(key)}(&|$) {page};\n" for key, page in markers.items()]
    (scratch / "markers").write_text("".join(lines))


def _in_a_query(key: str) -> str:
    """A regular expression for a key in a query, whether its slashes are escaped or not."""
    return re.escape(key).replace("/", "(/|%2F)")


def _xml(corpus: Corpus, keys: Sequence[str], following: int | None) -> str:
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>{_MOMENT}</LastModified>"
        f"<ETag>&quot;{corpus.md5[key]}&quot;</ETag><Size>{corpus.size_of(key)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
    )
    rest = "<IsTruncated>false</IsTruncated>"
    if following is not None:
        rest = (
            f"<IsTruncated>true</IsTruncated><NextContinuationToken>page-{following}</NextContinuationToken>"
            f"<NextMarker>{keys[-1]}</NextMarker>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{corpus.bucket}</Name>'
        f"<Prefix></Prefix><KeyCount>{len(keys)}</KeyCount><MaxKeys>{_PAGE}</MaxKeys>{rest}{contents}"
        "</ListBucketResult>"
    )


def _json(corpus: Corpus, keys: Sequence[str], following: int | None) -> str:
    items = [
        {
            "kind": "storage#object",
            "name": key,
            "bucket": corpus.bucket,
            "size": str(corpus.size_of(key)),
            "md5Hash": base64.b64encode(bytes.fromhex(corpus.md5[key])).decode(),
            "etag": corpus.md5[key],
            "updated": _MOMENT,
        }
        for key in keys
    ]
    page = {"kind": "storage#objects", "items": items}
    return json.dumps(page if following is None else {**page, "nextPageToken": f"page-{following}"})
