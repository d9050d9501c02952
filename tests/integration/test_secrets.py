"""What authorizes Forebay stays with it: no secret in logs, errors, Flower, Redis, commands or metrics."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from forebay.errors import ForebayError
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.integration.test_flower import REDIS_PASSWORD, listens, running_flower
from tests.servers.azurite import AzureServer
from tests.servers.embedded import eventually
from tests.servers.entra import entra
from tests.servers.process import free_ports
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.valkey import valkey as running_valkey
from tests.servers.workers import worker

# What people leave in a URI: a URL that somebody else signed.
GIVEN = "cAnArY7f3e"


@dataclass
class Way:
    """One way to reach a store.

    Attributes:
        uri: of an object that is there.
        settings: of the cache.
        secrets: what must not be seen.
        admits: whether the store lets this one in.
    """

    uri: str
    settings: dict[str, Any]
    secrets: list[str]
    admits: bool = True


@pytest.fixture(params=["key", "connection string", "SAS", "key in a file", "client secret", "keys of S3"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Way]:
    """Each kind of secret in turn, where users put it."""
    if request.param == "keys of S3":
        s3: S3Server = request.getfixturevalue("s3_server")
        request.getfixturevalue("s3_environment")
        yield Way(s3.put(s3.create_bucket(), "a b.jpg", b"pixels"), {}, [s3.secret_key])
        return
    server: AzureServer = request.getfixturevalue("azurite_server")
    uri = server.put(server.create_container(), "a b.jpg", b"pixels")
    account = {"AZURE_STORAGE_ACCOUNT_URL": server.endpoint}
    sas = server.sas_token()
    secrets = [server.key]
    settings: dict[str, Any] = {}
    with entra(tmp_path) as login:
        if request.param == "key":
            variables = account | {"AZURE_STORAGE_KEY": server.key}
        elif request.param == "connection string":
            variables = {"TEAM_STRING": server.connection_string()}
            settings = {"credentials": {"az://": {"connection_string_variable": "TEAM_STRING"}}}
        elif request.param == "SAS":
            variables = account | {"AZURE_STORAGE_SAS_TOKEN": sas}
            secrets = [signature_of(sas)]
        elif request.param == "key in a file":
            (tmp_path / "azure.ini").write_text(
                f"[team]\naccount_url = {server.endpoint}\naccount_key = {server.key}\n"
            )
            variables = {}
            settings = {"azure_credentials_file": str(tmp_path / "azure.ini"), "azure_profile": "team"}
        else:
            secret = base64.b64encode(b"the secret of an application").decode()
            variables = account | login.environment() | {"AZURE_CLIENT_SECRET": secret}
            secrets = [secret, login.secret]
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield Way(uri, settings, secrets, admits=request.param != "client secret")
        if request.param == "client secret":
            assert secrets[0] in login.asked


def signature_of(sas: str) -> str:
    """What makes a SAS one, as it stands in it."""
    return next(part for part in sas.split("&") if part.startswith("sig=")).removeprefix("sig=")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Redis with a password."""
    with running_valkey(tmp_path / "valkey", password=REDIS_PASSWORD) as server:
        yield server


def test_no_secret_is_where_people_and_programs_look(
    way: Way,
    make_cache: MakeCache,
    forebay: Forebay,
    valkey: Valkey,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # given a fleet that logs all it can, with Flower and metrics
    [port] = free_ports()
    settings = {"allowed_sources": ["s3://", "az://", "http://127.0.0.1/"], **way.settings}
    forebay.settings |= settings
    cache = make_cache(dispatch="fleet", metrics_port=port, max_attempts=2, **settings)
    seen: dict[str, str] = {}
    with running_flower(forebay) as flower, worker(cache, "--loglevel", "DEBUG") as process:
        listens(flower, valkey)

        # when it works off what is there, what is missing, and what another one signed
        missing = f"{way.uri}.missing"
        signed = f"http://127.0.0.1:9/a.jpg?sv=2024-11-04&sig={GIVEN}%3D"
        job = cache.download_media([way.uri, missing, signed])
        eventually(lambda: len(flower.tasks()) == 3, 60)
        for page in ("/", "/tasks", "/workers", "/broker", "/api/tasks", "/api/workers?refresh=true"):
            seen[f"Flower's {page}"] = flower.get(page).text
        seen["metrics"] = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        seen["a worker's log"] = process.log.read_text()
    assert job.status().failed == (2 if way.admits else 3)

    # and whatever a user asks
    seen["the job's failures"] = repr(list(job.failures()))
    caplog.set_level("DEBUG")
    seen["errors"] = " ".join(failed(lambda uri=uri: cache.local_path(uri)) for uri in (missing, signed))
    seen["this process's log"] = caplog.text
    seen["settings"] = repr(cache.config) + repr(cache.config.masked())
    folder = way.uri.rpartition("/")[0] + "/"
    for command in (
        ("config",),
        ("stats",),
        ("jobs",),
        ("job", job.id),
        ("doctor", way.uri),
        ("doctor", missing),
        ("doctor", folder),
        ("doctor", signed),
        ("prefetch", way.uri, missing, signed, "-vv"),
        ("prefetch", folder, "-vv"),
    ):
        done = forebay(*command)
        seen[f"forebay {command[0]}"] = seen.get(f"forebay {command[0]}", "") + done.out + done.err

    # then no secret is to be seen, nor a signature that was made of one
    for where, text in seen.items():
        assert text or where == "this process's log", where
        for secret in (*way.secrets, GIVEN, REDIS_PASSWORD):
            assert secret not in text, where
        assert "sig=" not in text.replace("sig=…", "").replace("sig=***", ""), where

    # and of all that Redis was ever told, a signature is only in the URIs of jobs, as they were given.
    told = b"".join(path.read_bytes() for path in (valkey.directory / "appendonlydir").glob("*"))
    assert way.uri.rpartition("/")[2].encode() in told
    for secret in way.secrets:
        assert secret.encode() not in told
    assert b"sig=" not in told.replace(f"sig={GIVEN}".encode(), b"")
    for key in valkey.client.scan_iter():
        assert GIVEN not in key


def failed(ask: Callable[[], Any]) -> str:
    """What an error says, in all that it has."""
    with pytest.raises(ForebayError) as raised:
        ask()
    return f"{raised.value!r} {raised.value} {vars(raised.value)}"
