"""The ways in which users start the App, each without the variable that names the adapter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forebay.fiftyone.app import launch
from forebay.fiftyone.app.failure_log import log_path
from tests.commands import COMMAND
from tests.fiftyone.app.conftest import Gallery
from tests.fiftyone.app.media import image
from tests.fiftyone.app.server import AppServer
from tests.fiftyone.app.test_browser import GREEN, RED, NewDataset, painted

WITHOUT_VARIABLE = ["env", "--unset=FIFTYONE_MODULE_PATH"]


def shows(app: AppServer, page: Any, dataset: Any) -> None:
    page.goto(app.page(dataset))
    painted(page, GREEN)
    address = app.page(dataset, dataset.first())
    page.goto(address)
    try:
        painted(page, RED, least=50_000)
    except pytest.fail.Exception:
        # The state of the session in Python, which names no sample, may come while the page opens one.
        page.goto(address)
        painted(page, RED, least=50_000)


def red_and_green(gallery: Gallery, new_dataset: NewDataset, fiftyone: Any) -> Any:
    uris = [gallery.put("s3", "launch/red.png", image(RED)), gallery.put("gs", "launch/g.png", image(GREEN))]
    return new_dataset(*(fiftyone.Sample(filepath=uri) for uri in uris))


def test_a_program_that_imports_the_adapter_and_launches_the_app(
    start_app: Callable[..., AppServer],
    page: Any,
    gallery: Gallery,
    new_dataset: NewDataset,
    imported_fiftyone: Any,
) -> None:
    dataset = red_and_green(gallery, new_dataset, imported_fiftyone)

    def program(port: int) -> list[str]:
        text = f"""
import fiftyone as fo
import forebay.fiftyone

session = fo.launch_app(fo.load_dataset("{dataset.name}"), remote=True, address="127.0.0.1", port={port})
session.wait(-1)
"""
        return [*WITHOUT_VARIABLE, sys.executable, "-c", text]

    app = start_app(command=program)

    shows(app, page, dataset)


def test_with_local_media_alone_nothing_is_said(
    new_dataset: NewDataset, imported_fiftyone: Any, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = new_dataset(imported_fiftyone.Sample(filepath="/data/photo.jpg"))
    session = SimpleNamespace(dataset=dataset)

    assert launch.launch_app(lambda *_: session, dataset) is session
    assert caplog.messages == []


def test_the_command_that_launches_the_app(
    start_app: Callable[..., AppServer],
    page: Any,
    gallery: Gallery,
    new_dataset: NewDataset,
    imported_fiftyone: Any,
) -> None:
    # given an adapter that FiftyOne's own configuration names
    subprocess.run([*WITHOUT_VARIABLE, COMMAND, "fiftyone", "enable"], check=True)
    dataset = red_and_green(gallery, new_dataset, imported_fiftyone)

    # when the App is launched by FiftyOne's command
    def launch(port: int) -> list[str]:
        command = Path(sys.executable).with_name("fiftyone")
        words = ["app", "launch", dataset.name, "--remote", "--address", "127.0.0.1", "--wait", "-1"]
        return [*WITHOUT_VARIABLE, str(command), *words, "--port", str(port)]

    app = start_app(command=launch)

    # then it shows what lies in the clouds, and has said where to look for what it cannot show
    try:
        shows(app, page, dataset)
        hint = f"Remote media that the App cannot show, and why: {log_path(app.cache)}"
        assert hint in app.log.read_text()
    finally:
        subprocess.run([*WITHOUT_VARIABLE, COMMAND, "fiftyone", "disable"], check=True)
