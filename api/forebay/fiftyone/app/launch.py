"""Tells at the launch of the App where it logs what it cannot show."""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.app.failure_log import log_path
from forebay.fiftyone.collection_media import has_remote, has_remote_recordings
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache


@hooks.around("fiftyone.core.session.session", "launch_app")
def launch_app(original: Wrapper, *args: Any, **kwargs: Any) -> Any:
    session = original(*args, **kwargs)
    shown = session.dataset
    if shown is not None and (has_remote(shown, None) or has_remote_recordings(shown)):
        log.info("Remote media that the App cannot show, and why: %s", log_path(media_cache()))
    return session
