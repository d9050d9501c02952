"""`forebay doctor az://…` with each wrong credential: which kind was tried, from where, and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from forebay.checks.doctor import examine
from tests.caches import MakeCache
from tests.servers.azurite import AzureServer, azurites, missing
from tests.servers.entra import entra

pytestmark = pytest.mark.skipif(bool(missing()), reason=str(missing()))

SECRET = "czNjcjN0LXdyb25nLQ=="
URL = {"AZURE_STORAGE_ACCOUNT_URL": "ENDPOINT"}
KEY = "with the Azure account key in the environment"
SAS = "with the Azure SAS token in the environment"
NOBODY = "with no credentials (DefaultAzureCredential asked the environment, workload and managed identity"
WRONG = "they are wrong or do not permit it, or the account's firewall refuses this network"
PERMITS = (
    "give them a role such as Storage Blob Data Reader, or Contributor to write, or a SAS that permits it"
)
NOT_PUBLIC = "is not public: give credentials that may read it"
RULE = ", by the prefix 'az://' of the setting credentials"


def by_rule(**words: Any) -> dict[str, Any]:
    return {"credentials": {"az://": words}}


CASES: dict[str, tuple[str, dict[str, str], dict[str, Any], str, str]] = {
    # what is asked for, variables, settings; then what was tried, and what to do
    "a wrong key": ("x", URL | {"AZURE_STORAGE_KEY": SECRET}, {}, KEY, WRONG),
    "a wrong key, for a listing": ("", URL | {"AZURE_STORAGE_KEY": SECRET}, {}, KEY, WRONG),
    "the key of another account": ("x", URL | {"AZURE_STORAGE_KEY": "OTHERKEY"}, {}, KEY, WRONG),
    "a key that is no base64": (
        "x",
        URL | {"AZURE_STORAGE_KEY": "s3cr3t"},
        {},
        "Azure's account_key in the environment is no account key",
        "it is not in base64",
    ),
    "a wrong key in a connection string": (
        "x",
        {
            "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=firstaccount;AccountKey={SECRET};"
            "BlobEndpoint=ENDPOINT"
        },
        {},
        KEY,
        WRONG,
    ),
    "what is no connection string": (
        "x",
        {"AZURE_STORAGE_CONNECTION_STRING": SECRET},
        {},
        "Azure's conn_str in the environment is no connection string",
        "it needs AccountName and AccountKey, or BlobEndpoint and SharedAccessSignature",
    ),
    "an expired SAS": ("x", URL | {"AZURE_STORAGE_SAS_TOKEN": "EXPIRED"}, {}, SAS, WRONG),
    "a SAS that may not read": ("x", URL | {"AZURE_STORAGE_SAS_TOKEN": "LISTS"}, {}, SAS, PERMITS),
    "a SAS that may not list": ("", URL | {"AZURE_STORAGE_SAS_TOKEN": "READS"}, {}, SAS, PERMITS),
    "the SAS of another account": ("x", URL | {"AZURE_STORAGE_SAS_TOKEN": "OTHERSAS"}, {}, SAS, WRONG),
    "a wrong name of the account": (
        "x",
        {"AZURE_STORAGE_ACCOUNT_URL": "HOST/nosuchaccount", "AZURE_STORAGE_KEY": "RIGHTKEY"},
        {},
        f"no such object, or one that is not public (404 Not Found: ResourceNotFound) {KEY}",
        "check the name of the storage account, and what they may see",
    ),
    "the name of another account beside a URL": (
        "x",
        URL | {"AZURE_STORAGE_ACCOUNT": "secondaccount", "AZURE_STORAGE_KEY": "OTHERKEY"},
        {},
        KEY,
        WRONG,
    ),
    "a name that no account can have": (
        "x",
        {"AZURE_STORAGE_ACCOUNT": "No-Account", "AZURE_STORAGE_KEY": "RIGHTKEY"},
        {},
        "Azure's account_name in the environment: 'No-Account' is no name of a storage account",
        "3 to 24 small letters and digits",
    ),
    "another account's container": (
        "THEIRS",
        URL | {"AZURE_STORAGE_KEY": "RIGHTKEY"},
        {},
        "no such bucket 'theirs' (404 Not Found: ContainerNotFound)",
        "if another account has it, give it credentials of its own in the setting credentials",
    ),
    "another account's container by its name": (
        "ABFSS",
        URL | {"AZURE_STORAGE_KEY": "RIGHTKEY"},
        {},
        "the Azure account key in the environment is for the storage account ENDPOINT, not for secondaccount",
        "give this one credentials of its own in the setting credentials",
    ),
    "a wrong secret of an application": (
        "x",
        URL | {"AZURE_CLIENT_SECRET": SECRET},
        {},
        "the Azure client secret in the environment cannot be used: Microsoft Entra refused with "
        "AADSTS7000215",
        "check client_id, client_secret and tenant, or log in with `az login`",
    ),
    "a wrong secret in a file": (
        "x",
        URL,
        {"azure_credentials_file": "TMP/azure.ini", "azure_profile": "app"},
        "the Azure client secret in section [app] of azure.ini cannot be used: Microsoft Entra refused with",
        "check client_id, client_secret and tenant",
    ),
    "no credentials at all": ("x", URL, {}, NOBODY, NOT_PUBLIC),
    "none, for a listing": ("", URL, {}, NOBODY, "is not public: give credentials that may list it"),
    "none, as is asked for": (
        "x",
        URL,
        by_rule(anonymous=True),
        f"with no credentials (the setting asks for none){RULE}",
        NOT_PUBLIC,
    ),
    "no account": (
        "x",
        {},
        {},
        "no storage account is configured",
        "set AZURE_STORAGE_ACCOUNT, or write abfss",
    ),
    "a wrong key by a rule": (
        "x",
        URL | {"TEAM_KEY": SECRET},
        by_rule(account_key_variable="TEAM_KEY"),
        f"with the Azure account key in the environment variable TEAM_KEY{RULE}",
        WRONG,
    ),
    "a variable of a rule that is not set": (
        "x",
        URL,
        by_rule(account_key_variable="TEAM_KEY"),
        "setting credentials, 'az://': account_key_variable names the environment variable TEAM_KEY",
        "set it, for the workers too",
    ),
    "a section of a rule without a file": (
        "x",
        URL,
        by_rule(profile="team"),
        "setting credentials, 'az://': profile='team': no file is named that has this section",
        "set azure_credentials_file or AZURE_CREDENTIALS_FILE",
    ),
    "a section that is not there": (
        "x",
        URL,
        by_rule(profile="team", credentials_file="TMP/azure.ini"),
        "setting credentials, 'az://': credentials_file='TMP/azure.ini' has no section [team]",
        "there are: app",
    ),
}


@pytest.fixture(scope="module")
def accounts() -> Iterator[tuple[AzureServer, AzureServer]]:
    with azurites(["firstaccount", "secondaccount"]) as (first, second):
        second.create_container("theirs")
        second.put("theirs", "x", b"pixels")
        yield first, second


@pytest.mark.parametrize(
    ("asked", "variables", "settings", "tried", "remedy"), CASES.values(), ids=list(CASES)
)
def test_each(
    make_cache: MakeCache,
    accounts: tuple[AzureServer, AzureServer],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    asked: str,
    variables: dict[str, str],
    settings: dict[str, Any],
    tried: str,
    remedy: str,
) -> None:
    # given an object of a private container, and credentials that are wrong for it
    first, second = accounts
    uri = first.put(first.create_container(), "x", b"pixels").removesuffix("x") + asked
    uri = {"THEIRS": "az://theirs/x", "ABFSS": "abfss://theirs@secondaccount.dfs.core.windows.net/x"}.get(
        asked, uri
    )
    words = {
        "ENDPOINT": first.endpoint,
        "HOST": first.host,
        "RIGHTKEY": first.key,
        "OTHERKEY": second.key,
        "OTHERSAS": second.sas_token(),
        "EXPIRED": first.sas_token(lasts=-timedelta(minutes=5)),
        "LISTS": first.sas_token("l"),
        "READS": first.sas_token("r"),
        "TMP": str(tmp_path),
    }

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    with entra(tmp_path) as login:
        application = {
            "client_id": login.environment()["AZURE_CLIENT_ID"],
            "tenant": login.environment()["AZURE_TENANT_ID"],
            "client_secret": SECRET,
            "account_url": first.endpoint,
        }
        (tmp_path / "azure.ini").write_text(
            "[app]\n" + "".join(f"{name} = {value}\n" for name, value in application.items())
        )
        for name, value in variables.items():
            monkeypatch.setenv(name, filled(value))
        if "secret" in tried:
            for name, value in login.environment().items():
                monkeypatch.setenv(name, value)

        # when doctor looks at it
        caplog.set_level("DEBUG")
        cache = make_cache(allowed_sources=["az://"], **json.loads(filled(json.dumps(settings))))
        findings = {finding.name: finding for finding in examine(cache, uri)}

    # then it says what was tried and what to do, and no secret
    source = findings["source"]
    assert source.state == "wrong"
    assert filled(tried) in source.message
    assert remedy in source.message
    told = " ".join(finding.message for finding in findings.values()) + caplog.text
    for secret in (SECRET, "s3cr3t", first.key, second.key, "sig=", login.secret):
        assert secret not in told
