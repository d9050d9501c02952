"""No secret that a user gave is in a message or a log line: canaries are put wherever one may stand."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay.config import MediaCacheConfig, mask_url
from forebay.config.explaining import mask
from forebay.config.sizes import parse_duration, parse_size
from forebay.errors import ForebayError
from forebay.logs import JsonFormatter, TextFormatter
from forebay.manifests.manifest import read_manifest
from forebay.sources.allowlist import Allowlist
from forebay.uri import entry_of, plain, redact, shown, uri_list

CANARY = "cAnArY7f3e"
KEY = json.dumps({"type": "service_account", "private_key": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n"})
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----"
INI = f"[default]\naws_secret_access_key = {CANARY}"
# Azure's: the portal's connection strings, a SAS as it is pasted, and an account's key, 64 bytes in base64.
ACCOUNT_KEY = f"{CANARY}{'+/aZ09' * 20}"[:86] + "=="
SAS = f"sv=2024-11-04&ss=b&srt=co&sp=rl&se=2030-01-01T00%3A00%3A00Z&sig={CANARY}%3D"
AZURE = [
    f"DefaultEndpointsProtocol=https;AccountName=photos;AccountKey={CANARY}==;EndpointSuffix=core.windows.net",
    f"AccountKey={CANARY}==;AccountName=photos",
    f"AccountName=photos;accountkey = {CANARY}==",
    f"BlobEndpoint=https://photos.blob.core.windows.net/;SharedAccessSignature={SAS}",
    f"SharedAccessSignature={SAS};BlobEndpoint=https://photos.blob.core.windows.net/",
    f"SharedAccessSignature={SAS}",
    f"Endpoint=photos;SharedAccessKey={CANARY}",
    SAS,
    f"?{SAS}",
    f"sig={CANARY}&sv=2024-11-04",
    ACCOUNT_KEY,
    f"[default]\naccount_key = {CANARY}\nconn_str = {CANARY}",
]
AZURE_URLS = [
    f"{start}?{SAS}"
    for start in (
        "https://photos.blob.core.windows.net/container/a b.jpg",
        "https://photos.blob.core.windows.net/container",
        "az://container/a.jpg",
        "abfss://container@photos.dfs.core.windows.net/a.jpg",
        "abfs://container@photos.dfs.core.windows.net/a.jpg",
    )
]

URIS = [
    f"{start}user:{CANARY}@host/path.jpg{end}"
    for start in (
        "https://",
        "https:///",
        "https:////",
        "https//",
        "https:/",
        "https:",
        "HTTPS://",
        "http s://",
        "hxxps://",
        " https://",
        "\thttps://",
        "//",
        "\\\\",
        "https:\\\\",
        "s3://",
        "s3:/",
        "s3//",
        "gs:///",
        "minio://",
        "ftp://",
        "rediss://",
        "",
    )
    for end in ("", "?a=b", "#f")
]
QUERIES = [
    f"{start}host/path.jpg?{name}={CANARY}"
    for start in ("https://", "https:///", "https//", "https:/", "//", " https://", "ftp://")
    for name in ("X-Amz-Signature", "sig", "Signature", "x", "token")
]
FORMS = [
    *URIS,
    *QUERIES,
    *AZURE,
    *AZURE_URLS,
    KEY,
    PEM,
    INI,
    f"https://user:a/{CANARY}@host/x",
    f"https://us er:{CANARY}@h/x",
]
SETTINGS = sorted(MediaCacheConfig.model_fields)


def told(call: Callable[[], Any]) -> str:
    """All that a failed call tells: message, attributes and traceback; else the result's own text."""
    try:
        result = call()
    except ForebayError as error:
        return "".join(traceback.format_exception(error)[-1:]) + repr(vars(error)) + repr(error)
    except (TypeError, ValueError) as error:
        return str(error)
    return repr(result)


class TestText:
    @pytest.mark.parametrize("form", FORMS)
    def test_of_anything(self, form: str) -> None:
        texts = [
            plain(form),
            shown(form),
            shown(Path(form)),
            shown(form.encode()),
            shown([form]),
            shown({1: form}),
        ]

        assert CANARY not in " ".join(texts)

    @pytest.mark.parametrize("uri", [*URIS, *QUERIES, *AZURE_URLS])
    def test_of_uris(self, uri: str) -> None:
        assert CANARY not in redact(uri)

    @pytest.mark.parametrize(
        "text",
        ["/data/a:b@c/x?y=1.jpg", "images/a@2x.png", "s3://b/a?b=c@d:e.jpg", "https://h/a:b@c.jpg", "a?b"],
    )
    def test_what_is_no_secret_stays(self, text: str) -> None:
        assert plain(text) == text


class TestUris:
    @pytest.mark.parametrize("uri", FORMS)
    @pytest.mark.parametrize(
        "call",
        [entry_of, uri_list, lambda uri: Allowlist([uri]), parse_size, parse_duration],
        ids=["entry", "list", "allowlist", "size", "duration"],
    )
    def test_that_are_refused(self, uri: str, call: Callable[[str], Any]) -> None:
        assert CANARY not in told(lambda: call(uri))

    @pytest.mark.parametrize("line", FORMS)
    @pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
    def test_in_a_manifest(self, tmp_path: Path, line: str, kind: str) -> None:
        file = tmp_path / f"manifest.{kind}"
        texts = {"txt": line, "csv": f'uri\n"{line}"', "jsonl": json.dumps({"filepath": line})}
        file.write_text(texts[kind] + "\n")

        text = told(lambda: len(read_manifest(str(file))))

        assert CANARY not in text


class TestSettings:
    @pytest.mark.parametrize("name", SETTINGS)
    @pytest.mark.parametrize(
        "value",
        [
            *URIS[::7],
            *QUERIES[::6],
            *AZURE,
            AZURE_URLS[0],
            KEY,
            PEM,
            INI,
            {"url": CANARY},
            [URIS[3]],
            [[CANARY]],
            {URIS[0]},
        ],
    )
    def test_as_arguments(self, name: str, value: Any) -> None:
        if name in ("cache_dir", "volume", "metrics_host") and isinstance(value, str):
            return  # A path, or a name, is no secret; others read it.
        text = told(lambda: MediaCacheConfig(**{name: value}).masked())

        assert CANARY not in text

    @pytest.mark.parametrize("name", SETTINGS)
    @pytest.mark.parametrize("value", [URIS[3], QUERIES[0], *AZURE[::3], {"url": CANARY}, [URIS[3]], KEY])
    def test_in_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
    ) -> None:
        if name in ("cache_dir", "volume", "metrics_host") and isinstance(value, str):
            return
        file = tmp_path / "config.json"
        file.write_text(json.dumps({name: value}))
        monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_CONFIG_PATH", str(file))

        assert CANARY not in told(lambda: MediaCacheConfig().masked())

    @pytest.mark.parametrize("header", ["Authorization", "X-Ticket", "X-Api", "Cookie", "x", "Apikey", ""])
    @pytest.mark.parametrize("where", ["headers", "params", "anything"])
    def test_headers_of_any_name(self, header: str, where: str) -> None:
        kwargs = {
            "http": {where: {header: CANARY}, "auth": ["me", CANARY]},
            "s3": {header: CANARY, "x": [CANARY]},
        }

        assert CANARY not in repr(mask("extra_client_kwargs", kwargs))

    def test_a_misspelt_key_of_the_file_that_is_a_url(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "config.json"
        file.write_text(json.dumps({URIS[0]: 1}))
        monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_CONFIG_PATH", str(file))

        assert CANARY not in told(MediaCacheConfig)

    @pytest.mark.parametrize("url", [uri for uri in URIS if "redis" in uri or uri.startswith("https")])
    def test_urls_of_redis(self, url: str) -> None:
        assert CANARY not in mask_url(url)
        assert CANARY not in mask_url(f"redis://host/0?password={CANARY}&token={CANARY}")


class TestLogs:
    @pytest.mark.parametrize(
        "line",
        [
            "http://host:80 'GET /bucket/key?X-Amz-Signature={} HTTP/1.1' 200",
            'GET "/a.jpg?se=1&sig={}"',
            "kwargs: {{'uri': 'https://host/a.jpg?Expires=1&Signature={}'}}",
            "args: ['https://user:{}@host/a.jpg']",
            "/a?x-oss-signature={}&b=1",
            "/a?OSSAccessKeyId=1&Signature={}",
            "/a?X-Amz-Security-Token={}",
            "/a?access_token={}",
            "https://host/with blank.jpg?sig={}",
            '{{"uri": "https://host/a.jpg?a=1\\u0026Signature={}"}}',
            "AccountName=photos;AccountKey={}==;EndpointSuffix=core.windows.net",
            "Invalid connection string 'AccountKey={}==;AccountName=photos'",
            "SharedAccessSignature=sv=2024-11-04&sig={}",
            "the token sig={}&sv=2024-11-04 has expired",
            "Endpoint=sb;SharedAccessKey={};EntityPath=x",
            "shared_access_signature: {}",
            "{{'sas_token': '{}'}}",
            "SAS_TOKEN={}",
            "client_secret={}&grant_type=client_credentials",
            "grant_type=client_credentials&client_secret={}",
            "{{'client_id': 'me', 'client_secret': '{}'}}",
            '{{"account_key": "{}", "sas_token": "x"}}',
            "conn_str = AccountKey={}",
            "az://container/a.jpg?sv=2024-11-04&sig={}",
            "to=https%3A%2F%2Fhost%2Fa%3FX-Amz-Signature%3D{}",
        ],
    )
    @pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
    def test_lines_of_other_packages(self, formatter: logging.Formatter, line: str) -> None:
        record = logging.LogRecord("celery", logging.DEBUG, "", 0, "%s", (line.format(CANARY),), None)

        assert CANARY not in formatter.format(record)


@pytest.mark.parametrize("variable", ["GOOGLE_APPLICATION_CREDENTIALS", None])
def test_a_google_key_in_place_of_its_path(monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    auth = pytest.importorskip("google.auth")
    from forebay.sources.gcs_access import _credentials

    settings = {} if variable else {"google_application_credentials": KEY}
    if variable:
        monkeypatch.setenv(variable, KEY)

    text = told(lambda: _credentials(auth, MediaCacheConfig(**settings), {}, emulator=False, write=False))

    assert CANARY not in text
    assert "not the key itself" in text
