"""Puts signed links in place of URIs in what the App's server tells the browser to load."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from starlette.responses import JSONResponse

from forebay.cache import MediaCache
from forebay.errors import SourceNotAllowedError, UriError
from forebay.fiftyone import hooks
from forebay.fiftyone.app import provenance, signed_links
from forebay.fiftyone.app.server_threads import in_thread
from forebay.fiftyone.app.signing_key import signing_key
from forebay.fiftyone.deferred import fom
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import is_remote
from forebay.sources.allowlist import Allowlist, is_public, literal_address
from forebay.uri import MediaURI, parse_object

_MEDIA_KEYS = ("filepath", "mask_path", "map_path")
_UNREADABLE = os.devnull


def link(uri: str) -> str:
    """The link to a URI; the URI itself if the server would refuse to fetch it.

    The browser then loads such a URL, for instance in the user's own network, as it does without Forebay.
    """
    cache = media_cache()
    try:
        parsed = parse_object(uri)
        allowed = _allowlist(cache)
        allowed.check(parsed)
    except (SourceNotAllowedError, UriError):
        return uri
    if parsed.is_url and not allowed.trusts(parsed):
        address = literal_address(parsed.bucket)
        if address is not None and not is_public(address):
            return uri
    return signed_links.make(signing_key(cache), uri, time.time())


def check_allowed(uri: MediaURI) -> None:
    """Raises `SourceNotAllowedError` where the settings do not admit a URI, cached or not."""
    _allowlist(media_cache()).check(uri)


@lru_cache(maxsize=4)
def _allowlist(cache: MediaCache) -> Allowlist:
    return Allowlist(cache.config.allowed_sources)


@hooks.around("fiftyone.server.metadata", "_create_media_urls")
def create_media_urls(original: Wrapper, collection: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
    filepath, source, urls = original(collection, sample, *args, **kwargs)
    remote = [url for url in urls if is_remote(url["url"])]
    frames = sample.get("frames")
    if remote or frames:
        known = provenance.stored_strings(collection, sample)
        for url in remote:
            if known is None or url["url"] in known:
                url["url"] = link(url["url"])
        if frames:
            # The first frame comes with the sample, before the browser requests any.
            sample["frames"] = _linked(frames, known)
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


@hooks.replace("fiftyone.server.routes.frames", "Frames.post")
def link_frames(original: Callable[..., Any]) -> Callable[..., Any]:
    """Puts links into the frames themselves, where the front end takes the paths of frames and masks."""

    # Starlette calls it as a coroutine function only if it looks like one.
    @functools.wraps(original)
    async def post(self: Any, request: Any) -> Any:
        response = await original(self, request)
        if response.status_code != 200 or b"://" not in response.body:
            return response
        query, content = json.loads(await request.body()), json.loads(response.body)
        known = await in_thread(_stored_strings, query, content["frames"])
        return JSONResponse(_linked(content, known))

    return post


def _stored_strings(query: dict[str, Any], frames: Any) -> set[str] | None:
    extended = (query.get("extended") or {}).items()
    stages = [
        *(query.get("view") or []),
        *({"_cls": name, "kwargs": list(kwargs.items())} for name, kwargs in extended),
    ]
    return provenance.stored_frame_strings(query["dataset"], query["sampleId"], stages, frames)


def _linked(value: Any, known: set[str] | None) -> Any:
    if isinstance(value, dict):
        return {
            key: link(item)
            if key in _MEDIA_KEYS and is_remote(item) and (known is None or item in known)
            else _linked(item, known)
            for key, item in value.items()
        }
    return [_linked(item, known) for item in value] if isinstance(value, list) else value
