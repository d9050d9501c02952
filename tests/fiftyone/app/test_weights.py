"""Weights in a bucket of models that the browser runs: FIFTYONE_MODEL_WEIGHTS_BASE_<FAMILY>."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fiftyone.conftest import UseCache
from tests.fiftyone.places import Places


@pytest.fixture
def client(fo: Any) -> Any:
    """A client of the App's routes for weights and media."""
    from fiftyone.server.routes.media import Media
    from fiftyone.server.routes.runtime_assets import RuntimeAssetRoutes
    from starlette.applications import Starlette
    from starlette.routing import Route
    from starlette.testclient import TestClient

    routes = [Route(path, endpoint) for path, endpoint in [*RuntimeAssetRoutes, ("/media", Media)]]
    return TestClient(Starlette(routes=routes), follow_redirects=False)


@pytest.mark.parametrize("cloud", ["s3", "gs"])
def test_the_browser_loads_them_from_the_server(
    cloud: str, client: Any, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given weights in a bucket
    places.put(cloud, "weights/v1/decoder.onnx", b"weights")
    monkeypatch.setenv("FIFTYONE_MODEL_WEIGHTS_BASE_SAM2", f"{places.root(cloud)}weights/")

    # when the browser asks where they are
    url = client.get("/runtime-assets/models/sam2/v1/decoder.onnx").json()["url"]

    # then it is told an address of the server, which serves them.
    assert url.startswith("/media?filepath=%2F.forebay%2Fv1.")
    served = client.get(url)
    assert (served.status_code, served.content) == (200, b"weights")
    assert served.headers["content-length"] == "7"


def test_or_from_the_bucket_by_a_signed_url(
    client: Any, places: Places, use_cache: UseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.put("s3", "weights/decoder.onnx", b"weights")
    monkeypatch.setenv("FIFTYONE_MODEL_WEIGHTS_BASE_SAM2", f"{places.root('s3')}weights")
    use_cache(app_signed_urls=True)

    served = client.get(client.get("/runtime-assets/models/sam2/decoder.onnx").json()["url"])

    assert served.status_code == 307
    assert served.headers["location"].startswith(places.s3_server.endpoint)
    assert "X-Amz-Signature=" in served.headers["location"]


def test_what_the_settings_do_not_admit_is_refused(
    client: Any, use_cache: UseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFTYONE_MODEL_WEIGHTS_BASE_SAM2", "s3://weights")
    use_cache(allowed_sources="gs://")

    refused = client.get("/runtime-assets/models/sam2/decoder.onnx")

    assert refused.status_code == 403
    assert refused.text.startswith("s3://weights/decoder.onnx: ")
    assert "allowed_sources" in refused.text


@pytest.mark.parametrize("base", [None, "https://models.example.com/sam2"])
def test_public_ones_stay_as_they_are(base: str | None, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if base:
        monkeypatch.setenv("FIFTYONE_MODEL_WEIGHTS_BASE_SAM2", base)

    told = client.get("/runtime-assets/models/sam2/decoder.onnx").json()

    assert told == {"url": f"{base or 'https://models-cdn.voxel51.com/sam2'}/decoder.onnx"}
