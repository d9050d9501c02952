"""The App's media route for signed links; FiftyOne serves all other paths itself."""

from __future__ import annotations

import contextlib
import mimetypes
import os
import time
from collections.abc import Mapping
from typing import Any

from forebay.errors import ForebayError
from forebay.fiftyone import hooks
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.app import (
    failure_log,
    link_rewriting,
    media_responses,
    response_bodies,
    scenes,
    signed_links,
)
from forebay.fiftyone.app.response_sender import ResponseSender
from forebay.fiftyone.app.server_threads import in_thread
from forebay.fiftyone.app.signing_key import signing_key
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import file_name, is_scene
from forebay.fiftyone.signed_lifetime import signed_seconds
from forebay.uri import MediaURI, parse_object


@hooks.around("fiftyone.server.routes.media", "Media.get", "Media.head")
async def answer(original: Wrapper, self: Any, request: Any) -> Any:
    path = request.query_params.get("filepath")
    if not path:
        return await original(self, request)
    if not path.startswith(signed_links.PREFIX):
        return await _local_file(original, self, request, path)
    try:
        target = signed_links.read(signing_key(media_cache()), path, time.time())
    except signed_links.LinkError as error:
        log.warning("refused to serve media: %s", error)
        refusal = media_responses.refusal(403, f"{error}\n")
        return ResponseSender(lambda: refusal)
    if target is None:
        return await _local_file(original, self, request, path)
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.scope["headers"]
    }
    only_headers = self.scope["method"] == "HEAD"
    return ResponseSender(lambda: _response(target, headers, only_headers=only_headers))


async def _local_file(original: Wrapper, route: Any, request: Any, path: str) -> Any:
    """FiftyOne serves any file; but not the cache's own, among them the key that signs links."""
    if await in_thread(is_private, path, media_cache().engine.files.layout().private_dir):
        log.warning("refused to serve a file of the cache itself")
        refusal = media_responses.refusal(403, "this file is not served\n")
        return ResponseSender(lambda: refusal)
    return await original(route, request)


def is_private(path: str, directory: str) -> bool:
    """Whether a path leads into a directory, by whatever links, mounts or spelling."""
    try:
        private = os.stat(directory)
        place = os.path.realpath(path)
        while True:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                if os.path.samestat(os.stat(place), private):
                    return True
            if place == os.path.dirname(place):
                return False
            place = os.path.dirname(place)
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        # What cannot be told is not served.
        return True


def _response(target: signed_links.LinkTarget, headers: Mapping[str, str], *, only_headers: bool) -> Any:
    try:
        uri = scenes.asset_uri(target.uri, target.asset) if target.asset else target.uri
        if uri is None:
            return media_responses.refusal(403, "this link is for another file\n")
        parsed = parse_object(uri)
        link_rewriting.check_allowed(parsed)
        seconds = target.expires - time.time()
        if is_scene(uri):
            content = scenes.linked_scene(uri, link_rewriting.link)
            return media_responses.from_content(content, content_type="application/json", seconds=seconds)
        # A signed URL is for one method only.
        signed = None if only_headers else _signed_url(parsed)
        if signed is not None:
            return media_responses.redirect(signed, seconds=min(seconds, signed_seconds()))
        start = None if only_headers else media_responses.requested_start(headers)
        body = _body(parsed, start)
        return media_responses.from_body(body, headers, name=file_name(uri), seconds=seconds)
    except ForebayError as error:
        failure_log.report(media_cache(), "cannot show", error, target.uri)
        return media_responses.from_error(error)


def _signed_url(uri: MediaURI) -> str | None:
    """The URL at which the browser loads an object itself; ``None`` if this server serves it."""
    cache = media_cache()
    if (
        not cache.config.app_signed_urls
        or uri.is_url
        or _is_cached_when_shown(uri)
        or cache.engine.files.locate(uri.entry) is not None
    ):
        return None
    return cache.engine.sources.for_uri(uri).sign(uri, expires_seconds=signed_seconds())


def _body(uri: MediaURI, start: int | None) -> response_bodies.ResponseBody:
    cache = media_cache()
    return (
        response_bodies.open_cached(cache, uri)
        or (response_bodies.fetch(cache, uri) if _is_cached_when_shown(uri) else None)
        or response_bodies.open_remote(cache, uri, start=start)
    )


def _is_cached_when_shown(uri: MediaURI) -> bool:
    """Whether showing an object downloads it into the cache."""
    kind = mimetypes.guess_type(file_name(uri.raw))[0] or ""
    return media_cache().config.cache_app_images and kind.startswith("image/")
