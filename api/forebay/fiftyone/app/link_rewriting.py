"""Puts signed links in place of URIs in what the App's server tells the browser to load."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

from starlette.responses import JSONResponse

from forebay.errors import SourceNotAllowedError, UriError
from forebay.fiftyone import hooks
from forebay.fiftyone.app import provenance, signed_links
from forebay.fiftyone.app.server_threads import in_thread
from forebay.fiftyone.app.signing_key import signing_key
from forebay.fiftyone.deferred import fo, fom
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import is_remote
from forebay.sources.allowlist import is_public, literal_address
from forebay.uri import MediaURI, parse_object

# In the name of a field, as in ``detections[3].mask_path``.
_POSITION = re.compile(r"\[\d+\]")
_UNREADABLE = os.devnull


def link(uri: str) -> str:
    """The link to a URI; the URI itself if the server would refuse to fetch it.

    The browser then loads such a URL, for instance in the user's own network, as it does without Forebay.
    """
    cache = media_cache()
    sources = cache.engine.sources
    try:
        parsed = parse_object(uri)
        sources.check(parsed)
    except (SourceNotAllowedError, UriError):
        return uri
    if parsed.is_url and not sources.trusts(parsed):
        address = literal_address(parsed.bucket)
        if address is not None and not is_public(address):
            return uri
    return signed_links.make(signing_key(cache), uri, time.time())


def check_allowed(uri: MediaURI) -> None:
    """Raises `SourceNotAllowedError` where the settings do not admit a URI, cached or not."""
    media_cache().engine.sources.check(uri)


@hooks.around("fiftyone.server.metadata", "_create_media_urls")
def create_media_urls(original: Wrapper, collection: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
    filepath, source, urls = original(collection, sample, *args, **kwargs)
    remote = [url for url in urls if is_remote(url["url"])]
    frames = sample.get("frames")
    if remote or frames:
        known = provenance.stored_media(collection, sample)
        media = provenance.media_paths(collection._dataset) if remote else set()
        for url in remote:
            if _POSITION.sub("", url["field"]) in media and (known is None or url["url"] in known):
                url["url"] = link(url["url"])
        if frames:
            # The first frame comes with the sample, before the browser requests any.
            media = provenance.media_paths(collection._dataset, frames=True)
            sample["frames"] = _linked(frames, known, media)
        if known is not None and is_remote(source) and source not in known:
            # Its header is not read either; the App shows it with the default shape.
            source = _UNREADABLE
    return filepath, source, urls


@hooks.around("fiftyone.server.routes.groups", "_extract_urls")
def extract_urls(original: Wrapper, data: Any, prefix: str = "") -> Any:
    return {field: link(path) if is_remote(path) else path for field, path in original(data, prefix).items()}


@hooks.around("fiftyone.server.routes.embeddings_v2", "_hover_media")
def hover_media(original: Wrapper, sample: Any) -> Any:
    if not is_remote(sample.filepath):
        return original(sample)
    return link(sample.filepath) if sample.media_type == fom.IMAGE else None


@hooks.around("fiftyone.server.routes.frames", "Frames.post")
async def link_frames(original: Wrapper, self: Any, request: Any) -> Any:
    """Puts links into the frames themselves, where the front end takes the paths of frames and masks."""
    response = await original(self, request)
    if response.status_code != 200 or b"://" not in response.body:
        return response
    query, content = json.loads(await request.body()), json.loads(response.body)
    content["frames"] = await in_thread(_linked_frames, query, content["frames"])
    return JSONResponse(content)


def _linked_frames(query: dict[str, Any], frames: Any) -> Any:
    extended = (query.get("extended") or {}).items()
    stages = [
        *(query.get("view") or []),
        *({"_cls": name, "kwargs": list(kwargs.items())} for name, kwargs in extended),
    ]
    dataset = fo.load_dataset(query["dataset"])
    known = provenance.stored_frame_media(dataset, query["sampleId"], stages, frames)
    return _linked(frames, known, provenance.media_paths(dataset, frames=True))


def _linked(value: Any, known: set[str] | None, media: set[str], path: str = "") -> Any:
    """Frames with links in their media fields.

    Args:
        known: what may be linked; ``None`` for all.
        media: the paths of the media fields.
        path: of ``value``.
    """
    if isinstance(value, dict):
        return {
            key: _linked(item, known, media, f"{path}.{key}" if path else key) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_linked(item, known, media, path) for item in value]
    if path in media and is_remote(value) and (known is None or value in known):
        return link(value)
    return value
