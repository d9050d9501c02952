"""What Flower shows of the fleet, asked over its own HTTP API."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import sync_playwright

from tests.caches import MakeCache
from tests.commands import Forebay, ended
from tests.fiftyone.app.browser import FLAGS
from tests.servers.embedded import eventually
from tests.servers.process import free_ports
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.valkey import valkey as running_valkey
from tests.servers.workers import worker

pytestmark = pytest.mark.usefixtures("s3_environment")

REDIS_PASSWORD = "redis-password-0815"
LOGIN = ("operator", "flower-password-4711")


@dataclass
class Flower:
    """A running Flower."""

    url: str
    process: subprocess.Popen[str]

    def get(self, path: str, login: tuple[str, str] | None = LOGIN) -> requests.Response:
        return requests.get(f"{self.url}{path}", auth=login, timeout=30)

    def tasks(self) -> list[dict[str, Any]]:
        """The tasks that have ended, in the order in which they came."""
        found = self.get("/api/tasks?sort_by=received").json().values()
        return [task for task in found if task["state"] in ("SUCCESS", "FAILURE")]


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Redis with a password."""
    with running_valkey(tmp_path / "valkey", password=REDIS_PASSWORD) as server:
        yield server


@pytest.fixture
def flower(forebay: Forebay) -> Iterator[Flower]:
    """Flower as the command starts it, listening to the events of the fleet."""
    with running_flower(forebay) as flower:
        yield flower


@contextlib.contextmanager
def running_flower(forebay: Forebay, *arguments: str) -> Iterator[Flower]:
    [port] = free_ports()
    with forebay.started(
        "flower", "--port", str(port), *arguments, flower_basic_auth=":".join(LOGIN)
    ) as process:
        flower = Flower(f"http://127.0.0.1:{port}", process)
        eventually(lambda: serves(flower), 60)
        yield flower


def serves(flower: Flower) -> bool:
    assert flower.process.poll() is None, flower.process.communicate()
    with contextlib.suppress(requests.ConnectionError):
        return flower.get("/healthcheck").ok
    return False


def listens(flower: Flower, cache_valkey: Valkey) -> None:
    """Waits until Flower hears the workers."""
    eventually(lambda: flower.get("/workers?json=1").json()["data"], 60)


def test_each_sample_of_a_small_job_and_why_one_failed(
    flower: Flower,
    forebay: Forebay,
    make_cache: MakeCache,
    s3_server: S3Server,
    s3_bucket: str,
    valkey: Valkey,
) -> None:
    # Given a job of one sample that is there, and one that is not
    there = s3_server.put(s3_bucket, "images/a-b_c.jpg", b"x" * 1000)
    missing = f"s3://{s3_bucket}/images/missing.jpg"
    cache = make_cache(dispatch="fleet", max_attempts=2)
    with worker(cache):
        listens(flower, valkey)

        # When the fleet has worked it off
        job = cache.download_media([there, missing])
        tasks = eventually(lambda: flower.tasks() if len(flower.tasks()) == 2 else None, 30)

    # Then each task names its job and its sample, by a name that says what it does
    shown = {task["args"]: task for task in tasks}
    assert {task["kwargs"] for task in tasks} == {f"{{'job': '{job.id}', 'message': {n}}}" for n in (0, 1)}
    assert {task["name"] for task in tasks} == {"forebay.fetch"}
    # and what became of it,
    assert shown[there]["state"] == "SUCCESS"
    assert shown[there]["result"] == "'1 downloaded (1000B)'"
    # and a task whose sample failed has failed, and says why.
    assert shown[missing]["state"] == "FAILURE"
    assert shown[missing]["exception"] == (
        f"SamplesFailedError('1 of 1 sample failed: no such object (404 Not Found: NoSuchKey): {missing}')"
    )


def test_a_message_of_a_large_job(
    flower: Flower,
    make_cache: MakeCache,
    s3_server: S3Server,
    s3_bucket: str,
    valkey: Valkey,
) -> None:
    uris = s3_server.put_many(s3_bucket, {f"{n}.jpg": b"x" * 1000 for n in range(5)})
    cache = make_cache(dispatch="fleet", message_size=3)
    with worker(cache):
        listens(flower, valkey)
        job = cache.download_media(uris)
        tasks = eventually(lambda: flower.tasks() if len(flower.tasks()) == 2 else None, 30)

    shown = {task["kwargs"]: task["args"] for task in tasks}
    assert shown == {
        f"{{'job': '{job.id}', 'message': 0}}": f"3 samples of s3://{s3_bucket}",
        f"{{'job': '{job.id}', 'message': 1}}": f"2 samples of s3://{s3_bucket}",
    }
    assert sorted(task["result"] for task in tasks) == ["'2 downloaded (2.0KB)'", "'3 downloaded (2.9KB)'"]


def test_a_message_that_is_begun_again_says_so(
    flower: Flower,
    make_cache: MakeCache,
    s3_server: S3Server,
    s3_bucket: str,
    valkey: Valkey,
) -> None:
    # Given a job of which one sample failed, and is there now
    uris = [s3_server.put(s3_bucket, "there.jpg", b"x"), f"s3://{s3_bucket}/late.jpg"]
    cache = make_cache(dispatch="fleet", max_attempts=1, message_size=2)
    with worker(cache):
        listens(flower, valkey)
        job = cache.download_media(uris)
        s3_server.put(s3_bucket, "late.jpg", b"x")

        # When what failed is tried again, and another message for it comes
        cache.engine.open_dispatcher().enqueue(job.id, [0])
        eventually(lambda: len(flower.tasks()) == 2, 30)
        job.retry()
        tasks = eventually(lambda: flower.tasks() if len(flower.tasks()) == 3 else None, 30)

    # Then each task tells what was left to do, and whether it is the first
    assert [task["args"] for task in tasks] == [
        f"2 samples of s3://{s3_bucket}",
        f"0 samples of s3://{s3_bucket}",
        uris[1],
    ]
    assert [task["retries"] for task in tasks] == [0, 1, 0]
    assert [task["result"] for task in tasks] == [
        None,
        "'skipped: all its samples had ended'",
        "'1 downloaded (1B)'",
    ]


def test_the_page_of_tasks_shows_what_users_ask_for(flower: Flower) -> None:
    page = flower.get("/tasks").text

    for title in ("Name", "args", "kwargs", "State", "Result", "Exception", "Retries", "Runtime", "Worker"):
        assert f">{title}<" in page


def test_the_page_shows_why_before_it_is_cut(
    flower: Flower, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, valkey: Valkey
) -> None:
    # given a sample that failed, whose name is long, beside others
    uris = s3_server.put_many(s3_bucket, {f"chelsea/{n:04}.jpg": b"x" * 50_000 for n in range(9)})
    name = "a-name-that-is-long/" * 6 + "0.jpg"
    cache = make_cache(dispatch="fleet", max_attempts=1, message_size=1)
    with worker(cache):
        listens(flower, valkey)
        cache.download_media([*uris, f"s3://{s3_bucket}/{name}"])
        eventually(lambda: len(flower.tasks()) == 10, 30)

        # when the list of tasks is opened on a screen of 1280 px
        chromium = shutil.which("chromium")
        assert chromium, "chromium is not installed; on Debian: sudo apt-get install chromium"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            login = {"username": LOGIN[0], "password": LOGIN[1]}
            page = browser.new_page(viewport={"width": 1280, "height": 720}, http_credentials=login)
            page.goto(f"{flower.url}/tasks")
            cell = page.get_by_text("failed: no such object").first
            cell.wait_for()
            end = cell.evaluate(
                "one => { const words = document.createRange(); const text = one.firstChild;"
                "words.setStart(text, 0); words.setEnd(text, text.data.indexOf('): ') + 1);"
                "return words.getBoundingClientRect().right }"
            )
            picture = os.environ.get("FOREBAY_TEST_PICTURES")
            if picture:
                page.screenshot(path=f"{picture}/flower-tasks.png")
            browser.close()

    # then the whole reason is on it
    assert 0 < end <= 1280


def test_it_remembers_as_many_tasks_as_it_is_told(
    forebay: Forebay, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, valkey: Valkey
) -> None:
    uris = s3_server.put_many(s3_bucket, {f"{n}.jpg": b"x" for n in range(30)})
    cache = make_cache(dispatch="fleet", message_size=1)
    with running_flower(forebay, "--max-tasks", "10") as flower, worker(cache):
        listens(flower, valkey)
        cache.download_media(uris)
        eventually(lambda: len(flower.tasks()) == 10, 30)


def test_no_secret_is_shown(
    flower: Flower,
    forebay: Forebay,
    make_cache: MakeCache,
    s3_server: S3Server,
    s3_bucket: str,
    valkey: Valkey,
) -> None:
    # Given a job with a presigned URL that works, and one that does not
    key = s3_server.put(s3_bucket, "a.jpg", b"x")
    address = {"Bucket": s3_bucket, "Key": "a.jpg"}
    signed = s3_server.client.generate_presigned_url("get_object", Params=address)
    wrong = signed.replace("a.jpg", "b.jpg")
    secrets = [REDIS_PASSWORD, LOGIN[1], s3_server.secret_key, s3_server.access_key]
    secrets += [part.partition("=")[2] for part in signed.partition("?")[2].split("&") if "ignature" in part]
    cache = make_cache(dispatch="fleet", max_attempts=1)
    with worker(cache):
        listens(flower, valkey)
        cache.download_media([key, signed, wrong])
        tasks = eventually(lambda: flower.tasks() if len(flower.tasks()) == 3 else None, 30)

        # When everything is looked at that Flower shows
        name = next(iter(flower.get("/api/workers?refresh=1").json()))
        paths = ["/", "/workers", "/tasks", "/broker", f"/worker/{name}", "/api/tasks", "/metrics"]
        paths += ["/api/workers?refresh=1", "/api/queues/length"]
        paths += [f"/task/{task['uuid']}" for task in tasks]
        pages = {path: flower.get(path) for path in paths}

    # Then no secret is in it, nor in what it logs
    flower.process.send_signal(signal.SIGINT)
    logged = ended(flower.process).err
    assert {path: page.status_code for path, page in pages.items() if not page.ok} == {}
    found = {(path, secret) for path, page in pages.items() for secret in secrets if secret in page.text}
    assert found == set()
    assert [secret for secret in secrets if secret in logged] == []
    assert {task["state"] for task in tasks} == {"SUCCESS", "FAILURE"}


def test_it_asks_for_the_password(flower: Flower) -> None:
    assert flower.get("/tasks", login=None).status_code == 401
    assert flower.get("/api/tasks", login=("operator", "wrong")).status_code == 401
    assert flower.get("/healthcheck", login=None).status_code == 200


def test_others_can_reach_it_only_with_a_password(forebay: Forebay) -> None:
    done = forebay("flower", "--address", "0.0.0.0")
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "error: Flower on 0.0.0.0 would let everybody there stop workers: "
        "set FIFTYONE_MEDIA_CACHE_FLOWER_BASIC_AUTH=user:password\n"
    )


@pytest.mark.parametrize("command", [["flower", "--port"], ["up", "--flower-port"]], ids=lambda c: c[0])
def test_a_port_that_is_taken(forebay: Forebay, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        done = forebay(*command, str(port))
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        f"error: Flower cannot be served at 127.0.0.1:{port} (Address already in use): choose another port\n"
    )


def test_a_login_without_a_password_is_refused_without_repeating_it(forebay: Forebay) -> None:
    done = forebay("flower", flower_basic_auth="just-a-password")
    assert done.status == 2
    assert "FIFTYONE_MEDIA_CACHE_FLOWER_BASIC_AUTH" in done.err
    assert "must be user:password" in done.err
    assert "just-a-password" not in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to(flower: Flower, number: signal.Signals) -> None:
    flower.process.send_signal(number)
    done = ended(flower.process, timeout=30)
    assert done.status == 0
    assert done.error_lines == [f"Flower  {flower.url}; Ctrl-C ends it"]
