"""Weights of models that the browser runs, where ``FIFTYONE_MODEL_WEIGHTS_BASE_<FAMILY>`` names a bucket."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from forebay.errors import ForebayError
from forebay.fiftyone import hooks
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.app.link_rewriting import check_allowed, link
from forebay.fiftyone.app.server_threads import in_thread
from forebay.fiftyone.media_uris import is_remote, is_url
from forebay.fiftyone.zoo import names_object
from forebay.uri import parse_object


@hooks.replace("fiftyone.server.routes.runtime_assets", "ModelWeights.get")
def link_weights(original: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the browser an address of the media route, because it cannot load the URI of a bucket."""

    # Starlette calls it as a coroutine function only if it looks like one.
    @functools.wraps(original)
    async def get(self: Any, request: Any) -> Any:
        response = await original(self, request)
        url = json.loads(response.body)["url"]
        if not is_remote(url) or (is_url(url) and not await in_thread(names_object, url)):
            return response
        return JSONResponse({"url": request.scope.get("root_path", "") + await in_thread(_address, url)})

    return get


def _address(uri: str) -> str:
    try:
        check_allowed(parse_object(uri))
    except ForebayError as error:
        log.warning("refused to serve weights: %s", error)
        raise HTTPException(403, str(error)) from error
    return f"/media?filepath={quote(link(uri), safe='')}"
