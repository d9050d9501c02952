"""The App with ``app_signed_urls``, which sends browsers to the bucket for what is not cached."""

from __future__ import annotations

import time

import pytest

from forebay.fiftyone.app import signed_links
from forebay.fiftyone.app.signing_key import signing_key
from tests.fiftyone.app.conftest import Gallery
from tests.fiftyone.app.server import AppServer


def test_what_is_cached_is_served_from_the_cache(
    signing_app: AppServer, store: str, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a video, for which the browser is sent to the bucket
    uri = gallery.put(store, "signed/cached.mp4", b"frames")
    link = signed_links.make(signing_key(signing_app.cache), uri, time.time())
    assert signing_app.get(link).status == 307

    # when it has been downloaded into the cache
    for name, value in gallery.environment().items():
        monkeypatch.setenv(name, value)
    signing_app.cache.local_path(uri)

    # then the server sends it by itself, and does not ask the bucket
    asked = len(gallery.asked(uri))
    reply = signing_app.get(link)
    assert (reply.status, reply.body) == (200, b"frames")
    assert len(gallery.asked(uri)) == asked
