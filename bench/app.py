"""FiftyOne's App: scrolling through a grid of remote images, beside the same images as local files.

``python -m bench.app``. It needs what the tests need: FiftyOne with its database, and Debian's chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import random
import shutil
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.corpus import Corpus
from bench.place import scratch
from bench.report import spread
from bench.server import ENVIRONMENT, serving
from bench.settings import forget_settings
from tests.fiftyone.app.browser import FLAGS
from tests.fiftyone.app.server import AppServer, app_server
from tests.servers.mongodb import mongodb
from tests.servers.valkey import valkey

_IMAGES = 2000
_BYTES = 30_000
_PAINT = (255, 0, 255)
_TURNS = 40
_TURN_PIXELS = 1400  # two viewports
# The middle of the grid, clear of its edges and of what the App lays over it.
_CLIP = {"x": 340, "y": 330, "width": 900, "height": 440}


def main() -> None:
    """Opens the grid, goes down by two viewports at a time, and flings back."""
    parser = argparse.ArgumentParser(prog="python -m bench.app", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    forget_settings()
    with (
        scratch(6 * _IMAGES * _BYTES, None) as place,
        mongodb() as database,
        _fiftyone(database, place / "home"),
        _corpus(place / "root") as corpus,
        serving(place / "root", place / "nginx", corpus) as site,
        _chromium() as browser,
    ):
        local = _dataset([str(place / "root" / "app" / uri.rpartition("/")[2]) for uri in corpus.uris])
        remote = _dataset(corpus.uris)
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, dataset, keep in (
                ("local files", local, False),
                ("streamed", remote, False),
                ("cache_app_images, empty cache", remote, True),
            ):
                with _app(place, site.endpoints["plain"].url, keep) as server:
                    found.setdefault(name, []).append(_look(browser, server, dataset, name))
                    if keep:
                        again = "cache_app_images, looked at before"
                        found.setdefault(again, []).append(_look(browser, server, dataset, again))
    base = statistics.median(found["local files"])
    for name, seconds in found.items():
        middle, limits = spread([one * 1000 for one in seconds], "{:,.0f}".format)
        print(f"{name}: {middle} ms ({limits}) to another viewport, {statistics.median(seconds) / base:.2f}x")


def _look(browser: Any, server: AppServer, dataset: Any, name: str) -> float:
    """Scrolls through a dataset; gives the seconds from one viewport to another."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    loaded, given_up = list[str](), list[str]()

    def note(where: list[str], request: Any) -> None:
        if "/media?" in request.url:
            where.append(request.url)

    page.on("requestfinished", partial(note, loaded))
    page.on("requestfailed", partial(note, given_up))
    start = time.perf_counter()
    page.goto(server.page(dataset))
    _wait(page)
    first = time.perf_counter() - start
    page.get_by_text("Dismiss").click()  # what lies over the grid would take the wheel
    page.mouse.move(700, 500)
    turns = []
    for _ in range(_TURNS):
        start = time.perf_counter()
        page.mouse.wheel(0, _TURN_PIXELS)
        # The page is not to be looked at before it has begun to move.
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        _wait(page)
        turns.append(time.perf_counter() - start)
    start = time.perf_counter()
    for _ in range(30):
        page.mouse.wheel(0, -2000)
        page.wait_for_timeout(20)
    _wait(page)
    fling = time.perf_counter() - start
    context.close()
    middle, slowest = (one * 1000 for one in (statistics.median(turns), max(turns)))
    print(
        f"  {name}: first viewport {first:.1f} s, every other one after it {middle:,.0f} ms "
        f"(slowest {slowest:,.0f}), painted {fling:.1f} s after the beginning of a fling of 0.6 s; "
        f"{len(loaded):,} images loaded, {len(given_up):,} requests given up",
        flush=True,
    )
    return statistics.median(turns)


def _wait(page: Any) -> None:
    """Until all of the middle of the grid is painted."""
    import numpy as np
    from PIL import Image

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        picture = page.screenshot(clip=_CLIP, type="jpeg", quality=60)
        pixels = np.asarray(Image.open(io.BytesIO(picture)))[::4, ::4].astype(int)
        if (abs(pixels - np.array(_PAINT)).max(axis=2) < 60).mean() > 0.9:
            return
    raise RuntimeError("the grid was not painted within two minutes")


@contextlib.contextmanager
def _corpus(root: Path) -> Iterator[Corpus]:
    """Small JPEG files that are easily told from the page, no two alike."""
    from PIL import Image

    corpus = Corpus.make(root, "app", _IMAGES, _BYTES)
    file = io.BytesIO()
    Image.new("RGB", (300, 200), _PAINT).save(file, "JPEG", quality=95)
    for number, uri in enumerate(corpus.uris):
        # What comes after the end of a JPEG image is ignored.
        filler = random.Random(number).randbytes(_BYTES - file.tell())
        key, content = uri.rpartition("/")[2], file.getvalue() + filler
        (root / "app" / key).write_bytes(content)
        corpus.md5[key] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    yield corpus


@contextlib.contextmanager
def _fiftyone(database: str, home: Path) -> Iterator[None]:
    home.mkdir()
    os.environ.update(
        ENVIRONMENT,
        HOME=str(home),
        FIFTYONE_CONFIG_PATH=str(home / "config.json"),
        FIFTYONE_DATABASE_URI=database,
        FIFTYONE_DATABASE_NAME="forebay-bench",
        FIFTYONE_DATABASE_VALIDATION="false",
        FIFTYONE_DO_NOT_TRACK="true",
        FIFTYONE_SHOW_PROGRESS_BARS="false",
        FIFTYONE_MODULE_PATH="forebay.fiftyone",
    )
    yield


def _dataset(paths: list[str]) -> Any:
    import fiftyone as fo

    dataset = fo.Dataset()
    shape = fo.ImageMetadata(size_bytes=_BYTES, mime_type="image/jpeg", width=300, height=200, num_channels=3)
    dataset.add_samples([fo.Sample(filepath=path, metadata=shape) for path in paths])
    return dataset


@contextlib.contextmanager
def _app(place: Path, endpoint: str, keep: bool) -> Iterator[AppServer]:
    directory = place / f"app-{time.monotonic_ns()}"
    with valkey(directory / "valkey") as index:
        environment = ENVIRONMENT | {"AWS_ENDPOINT_URL_S3": endpoint}
        settings: dict[str, Any] = {
            "cache_dir": str(directory / "cache"),
            "redis_url": index.url,
            "min_free_bytes": 0,
        }
        with app_server(
            environment, directory, dispatch="local", cache_app_images=keep, **settings
        ) as server:
            yield server
    shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("chromium is not installed; on Debian: sudo apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


if __name__ == "__main__":
    main()
