"""The App's media route, for links; every other path is FiftyOne's own business."""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Mapping
from typing import Any

from forebay.errors import ForebayError
from forebay.fiftyone import hooks
from forebay.fiftyone.app import bodies, complaints, links, scenes, urls
from forebay.fiftyone.app.key import signing_key
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.log import log
from forebay.fiftyone.media import media_cache
from forebay.fiftyone.mime import file_name
from forebay.uri import MediaURI, parse_object

_SIGNED_SECONDS = 3600


@hooks.around("fiftyone.server.routes.media", "Media._file_response")
async def file_response(original: Wrapper, self: Any, path: str) -> Any:
    if not path.startswith(links.PREFIX):
        return await original(self, path)
    # Imported here, as only the App's server has an event loop.
    from forebay.fiftyone.app import answers
    from forebay.fiftyone.app.sending import Response

    try:
        target = links.read(signing_key(media_cache()), path, time.time())
    except links.LinkError as error:
        log.warning("refused to serve media: %s", error)
        refusal = answers.refusal(403, f"{error}\n")
        return Response(lambda: refusal)
    if target is None:
        return await original(self, path)
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]
    }
    return Response(lambda: _answer(target, headers))


def _answer(target: links.Target, headers: Mapping[str, str]) -> Any:
    from forebay.fiftyone.app import answers

    try:
        uri = scenes.names(target.uri, target.asset) if target.asset else target.uri
        if uri is None:
            return answers.refusal(403, "this link is for another file\n")
        parsed = parse_object(uri)
        urls.check_allowed(parsed)
        seconds = target.expires - time.time()
        if scenes.is_scene(uri):
            content = scenes.linked_scene(uri, urls.link)
            return answers.of_content(content, content_type="application/json", seconds=seconds)
        signed = _signed_url(parsed)
        if signed is not None:
            return answers.elsewhere(signed, seconds=min(seconds, _SIGNED_SECONDS))
        body = _body(parsed, answers.wanted_start(headers))
        return answers.of_body(body, headers, name=file_name(uri), seconds=seconds)
    except ForebayError as error:
        complaints.note(media_cache(), "cannot show", error, target.uri)
        return answers.of_error(error)


def _signed_url(uri: MediaURI) -> str | None:
    """Where the browser is to fetch an object itself; ``None`` where it is to be served from here."""
    cache = media_cache()
    if (
        not cache.config.app_signed_urls
        or uri.is_url
        or _is_kept(uri)
        or cache.engine.files.locate(uri.entry) is not None
    ):
        return None
    return cache.engine.sources.for_uri(uri).sign(uri, expires_seconds=_SIGNED_SECONDS)


def _body(uri: MediaURI, start: int | None) -> bodies.Body:
    cache = media_cache()
    return (
        bodies.cached(cache, uri)
        or (bodies.fetched(cache, uri) if _is_kept(uri) else None)
        or bodies.streamed(cache, uri, start=start)
    )


def _is_kept(uri: MediaURI) -> bool:
    """Whether looking at an object caches it."""
    kind = mimetypes.guess_type(file_name(uri.raw))[0] or ""
    return media_cache().config.cache_app_images and kind.startswith("image/")
