"""`forebay doctor URI` with each wrong credential: which kind was tried, from where, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.checks.doctor import CheckResult, examine
from tests.caches import MakeCache
from tests.servers.seaweedfs import S3Server

SECRET = "a-secret-that-is-wrong"


def found(cache: MediaCache, uri: str) -> dict[str, CheckResult]:
    return {finding.name: finding for finding in examine(cache, uri)}


@pytest.fixture
def doctor(
    make_cache: MakeCache,
    s3_server: S3Server,
    s3_environment: dict[str, str],
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., tuple[str, str]]:
    """Examines an object of a private bucket; gives what is said of credentials and of the source."""
    (tmp_path / "wrong.json").write_text(json.dumps({"type": "service_account", "private_key": SECRET}))
    (tmp_path / "minio.ini").write_text(f"[lab]\naccess_key=x\nsecret_access_key={SECRET}\n")
    s3_server.put(s3_bucket, "x", b"pixels")

    def ask(scheme: str, settings: dict[str, Any], variables: dict[str, str]) -> tuple[str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(
                name, value.replace("TMP", str(tmp_path)).replace("SERVER", s3_server.endpoint)
            )
        text = json.dumps(settings).replace("TMP", str(tmp_path)).replace("SERVER", s3_server.endpoint)
        cache = make_cache(allowed_sources=["s3://", "gs://", "minio://"], **json.loads(text))
        findings = found(cache, f"{scheme}://{s3_bucket}/x")
        assert findings["source"].state == "wrong"
        told = findings["access"].message if "access" in findings else ""
        assert SECRET not in told + findings["source"].message
        assert s3_server.secret_key not in told + findings["source"].message
        return told, findings["source"].message

    return ask


ADMIN = {"AWS_ACCESS_KEY_ID": "FOREBAYADMINKEY"}
KEYS = {"access_key_variable": "TEAM_KEY", "secret_key_variable": "TEAM_SECRET"}
TEAM = {"TEAM_KEY": "FOREBAYADMINKEY", "TEAM_SECRET": SECRET}
CASES: list[tuple[str, dict[str, Any], dict[str, str], str, str, str]] = [
    # scheme, settings, variables; then what is said of the credentials, what was tried, what to do
    (
        "s3",
        {},
        {"AWS_SECRET_ACCESS_KEY": SECRET},
        "the AWS credentials in the environment; at http://",
        "SignatureDoesNotMatch) with the AWS credentials in the environment",
        "the secret key does not belong to the access key",
    ),
    (
        "s3",
        {},
        {"AWS_ACCESS_KEY_ID": "NOBODY"},
        "the AWS credentials in the environment",
        "InvalidAccessKeyId) with the AWS credentials in the environment",
        "is it meant for another endpoint?",
    ),
    (
        "s3",
        {"credentials": {"s3://*": KEYS, "s3://none/": {}}},
        TEAM,
        "variable TEAM_KEY, by the prefix 's3://*' of the setting credentials; at",
        "with the credentials in the environment variable TEAM_KEY, by the prefix 's3://*' of the setting",
        "the secret key does not belong to the access key",
    ),
    (
        "s3",
        {"credentials": {"s3://none/": KEYS}},
        {"AWS_SECRET_ACCESS_KEY": SECRET},
        "in the setting credentials, no prefix is for it ('s3://none/')",
        "with the AWS credentials in the environment",
        "the secret key does not belong to the access key",
    ),
    (
        "s3",
        {"credentials": {"s3://*": KEYS}},
        {},
        "",
        "setting credentials, 's3://*': access_key_variable names the environment variable TEAM_KEY",
        "set it, for the workers too",
    ),
    (
        "s3",
        {"credentials": {"s3://*": {"profile": "team"}}},
        {},
        "",
        "setting credentials, 's3://*': profile",
        "there are: none",
    ),
    (
        "s3",
        {"credentials": {"s3://*": {"credentials_file": "TMP/none"}}},
        {},
        "",
        "setting credentials, 's3://*': credentials_file='TMP/none'",
        "there is no such file",
    ),
    (
        "s3",
        {"credentials": {"s3://*": {"anonymous": True}}},
        {},
        "no credentials (anonymous asks for unsigned requests), by the prefix 's3://*'",
        "with no credentials (anonymous asks for unsigned requests), by the prefix 's3://*'",
        "is not public: give credentials that may read it",
    ),
    (
        "s3",
        {
            "extra_client_kwargs": {
                "s3": {"aws_access_key_id": "FOREBAYADMINKEY", "aws_secret_access_key": SECRET}
            }
        },
        {},
        "the credentials in extra_client_kwargs",
        "with the credentials in extra_client_kwargs",
        "the secret key does not belong to the access key",
    ),
    (
        "minio",
        {},
        {"MINIO_ACCESS_KEY": "x", "MINIO_SECRET_ACCESS_KEY": SECRET, "MINIO_ENDPOINT_URL": "SERVER"},
        "the MinIO credentials in the environment; at http://",
        "with the MinIO credentials in the environment",
        "is it meant for another endpoint?",
    ),
    (
        "minio",
        {
            "minio_config_file": "TMP/minio.ini",
            "minio_profile": "lab",
            "extra_client_kwargs": {"minio": {"endpoint_url": "SERVER"}},
        },
        {},
        "the MinIO credentials in section [lab] of minio.ini",
        "with the MinIO credentials in section [lab] of minio.ini",
        "is it meant for another endpoint?",
    ),
    (
        "minio",
        {"credentials": {"minio://*": {"profile": "none", "credentials_file": "TMP/minio.ini"}}},
        {},
        "",
        "setting credentials, 'minio://*': credentials_file='TMP/minio.ini' has no section [none]",
        "there are: lab",
    ),
    (
        "minio",
        {"credentials": {"minio://*": {"profile": "lab"}}},
        {"MINIO_ACCESS_KEY": "x", "MINIO_SECRET_ACCESS_KEY": SECRET, "MINIO_ENDPOINT_URL": "SERVER"},
        "",
        "setting credentials, 'minio://*': profile='lab': no file is named that has this section",
        "set minio_config_file or MINIO_CONFIG_FILE",
    ),
    ("minio", {}, {}, "", "minio:// needs the URL of a server", "or MINIO_ENDPOINT_URL"),
    (
        "gs",
        {"credentials": {"gs://*": {"credentials_file": "TMP/wrong.json"}}},
        {},
        "",
        "setting credentials, 'gs://*': credentials_file='TMP/wrong.json'",
        "not in the expected format",
    ),
    (
        "gs",
        {},
        {"GOOGLE_APPLICATION_CREDENTIALS": "TMP/none.json"},
        "",
        "environment variable GOOGLE_APPLICATION_CREDENTIALS",
        "was not found",
    ),
]


@pytest.mark.parametrize(("scheme", "settings", "variables", "said", "tried", "remedy"), CASES)
def test_each(
    doctor: Callable[..., tuple[str, str]],
    tmp_path: Path,
    scheme: str,
    settings: dict[str, Any],
    variables: dict[str, str],
    said: str,
    tried: str,
    remedy: str,
):
    told, message = doctor(scheme, settings, variables)
    assert said in told
    assert (said == "") == (told == "")
    assert tried.replace("TMP", str(tmp_path)) in message
    assert remedy in message


def test_what_is_right_is_explained(
    make_cache: MakeCache, s3_server: S3Server, s3_environment: dict[str, str], s3_bucket: str
):
    uri = s3_server.put(s3_bucket, "x", b"pixels")
    url = uri.replace("s3:/", s3_server.endpoint)
    at = f"the AWS credentials in the environment; at {s3_server.endpoint}, region us-east-1"
    for asked, words in ((uri, at), (url, f"read as {uri}, with {at}")):
        findings = found(make_cache(), asked)
        assert findings["access"] == CheckResult("access", "ok", f"{asked}: {words}")
        assert findings["source"].state == "ok"
