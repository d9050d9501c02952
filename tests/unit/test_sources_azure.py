"""Which account and credentials `az://` URIs have, and where their requests go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import certifi
import pytest

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, SourceError, UriError
from forebay.sources.azure import azure_source
from forebay.sources.azure_access import azure_access
from forebay.sources.azure_account import VARIABLES, AzureAccount, azure_account
from forebay.sources.credential_rules import settings_for
from forebay.transport import Head, Headers
from forebay.uri import parse

KEY = "c2VjcmV0LWtleQ=="
OTHER = "b3RoZXIta2V5LQ=="
HOST = "https://photos.blob.core.windows.net"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES.values(), "AZURE_CREDENTIALS_FILE", "AZURE_PROFILE", "AZURE_ALIAS"):
        monkeypatch.delenv(name, raising=False)


def account(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any] | None = None, **values: str
) -> AzureAccount:
    """The account that these variables, named as in the file, and ``extra_client_kwargs`` give."""
    for name, value in values.items():
        monkeypatch.setenv(VARIABLES[name], value)
    return azure_account(MediaCacheConfig(extra_client_kwargs={"azure": extra or {}}))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "azure.ini"
    path.write_text(
        f"[default]\naccount_name = photos\naccount_key = {KEY}\n"
        "[sas]\naccount_url = https://photos.blob.core.windows.net\nsas_token = ?sv=1%%26&sig=x\n"
        "[app]\naccount_name = photos\nclient_id = id\nclient_secret = secret\ntenant = tenant\n"
    )
    return str(path)


def test_the_variables_are_those_that_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    assert [name for name in VARIABLES.values() if f"`{name}`" not in page] == []


class TestEnvironment:
    def test_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = account(monkeypatch, account_name="photos", account_key=f"{KEY}\n")
        assert (found.name, found.url, found.key) == ("photos", HOST, KEY)
        assert found.description == "the Azure account key in the environment"

    @pytest.mark.parametrize(
        ("url", "name", "used"),
        [
            ("https://photos.blob.core.windows.net/", "photos", HOST),
            (
                "https://photos.blob.core.chinacloudapi.cn",
                "photos",
                "https://photos.blob.core.chinacloudapi.cn",
            ),
            ("http://127.0.0.1:10000/photos", "photos", "http://127.0.0.1:10000/photos"),
            ("http://azurite:10000/photos", "photos", "http://azurite:10000/photos"),
        ],
    )
    def test_the_account_is_found_in_its_url(
        self, url: str, name: str, used: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = account(monkeypatch, account_url=url, account_key=KEY)
        assert (found.name, found.url) == (name, used)

    @pytest.mark.parametrize("prefix", ["", "?"])
    def test_a_sas(self, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
        found = account(monkeypatch, account_name="photos", sas_token=f"{prefix}sv=1&sig=x")
        assert (found.sas, found.description) == ("sv=1&sig=x", "the Azure SAS token in the environment")

    def test_a_sas_in_the_accounts_url(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = account(monkeypatch, account_url=f"{HOST}?sv=1&sig=x")
        assert (found.url, found.sas) == (HOST, "sv=1&sig=x")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (f"AccountName=photos;AccountKey={KEY}", ("photos", HOST, KEY, None)),
            (
                f"DefaultEndpointsProtocol=http;AccountName=photos;AccountKey={KEY};"
                "BlobEndpoint=http://127.0.0.1:1/photos;",
                ("photos", "http://127.0.0.1:1/photos", KEY, None),
            ),
            (
                f"AccountName=photos;accountkey={KEY};EndpointSuffix=core.usgovcloudapi.net",
                ("photos", "https://photos.blob.core.usgovcloudapi.net", KEY, None),
            ),
            (
                f"BlobEndpoint={HOST}/;SharedAccessSignature=sv=1&sig=x%3D",
                ("photos", HOST, None, "sv=1&sig=x%3D"),
            ),
            (
                f"DefaultEndpointsProtocol=http;AccountName=photos;AccountKey={KEY}",
                ("photos", "http://photos.blob.core.windows.net", KEY, None),
            ),
        ],
    )
    def test_a_connection_string(
        self, text: str, expected: tuple[str | None, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = account(monkeypatch, conn_str=text)
        assert (found.name, found.url, found.key, found.sas) == expected

    def test_half_an_application_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert account(monkeypatch, client_id="id", tenant="tenant").client is None

    def test_no_secret_is_shown_by_what_holds_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = {"account_key": KEY, "sas_token": "sig=s3cr3t", "client_secret": "s3cr3t"}
        found = account(monkeypatch, account_name="photos", client_id="id", tenant="tenant", **values)
        assert found.client is not None
        assert KEY not in repr(found) and "s3cr3t" not in repr(found)

    def test_an_application(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = account(monkeypatch, client_id="id", client_secret="secret", tenant="tenant")
        assert found.client == ("id", "secret", "tenant")
        assert found.url is None, "abfss:// URIs name their account"


class TestFile:
    def test_its_sections(self, file: str) -> None:
        config = MediaCacheConfig(azure_credentials_file=file)
        assert azure_account(config).key == KEY
        assert azure_account(config).origin == "in section [default] of azure.ini"
        sas = azure_account(MediaCacheConfig(azure_credentials_file=file, azure_profile="sas"))
        assert (sas.sas, sas.url) == ("sv=1%26&sig=x", HOST)
        app = azure_account(MediaCacheConfig(azure_credentials_file=file, azure_profile="app"))
        assert app.client == ("id", "secret", "tenant")

    def test_that_a_variable_names_goes_after_the_other_variables(
        self, file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_CREDENTIALS_FILE", file)
        found = account(monkeypatch, account_key=OTHER, account_name="other")
        assert (found.name, found.key) == ("other", OTHER)
        monkeypatch.setenv("AZURE_PROFILE", "sas")
        assert account(monkeypatch, account_key=OTHER).sas is None, "credentials of one place only"

    def test_its_section_is_named_where_a_variable_does(
        self, file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_CREDENTIALS_FILE", file)
        monkeypatch.setenv("AZURE_PROFILE", "sas")
        assert account(monkeypatch).description == "the Azure SAS token in section [sas] of azure.ini"
        assert account(monkeypatch, account_key=OTHER).origin == "in the environment"

    def test_a_prefix_with_a_profile_takes_its_credentials_alone(
        self, file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given an account whose URL the profile does not say, and a key in the environment
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_URL", "http://127.0.0.1:1/photos")
        monkeypatch.setenv("AZURE_STORAGE_KEY", OTHER)
        rule = {"credentials_file": file}
        for words, key, url in (
            (rule, KEY, "http://127.0.0.1:1/photos"),
            ({**rule, "profile": "app"}, None, "http://127.0.0.1:1/photos"),
            # What the profile says goes before the environment.
            ({**rule, "profile": "sas"}, None, HOST),
        ):
            settings = settings_for(MediaCacheConfig(credentials={"az://day/": words}), parse("az://day/a"))
            found = azure_account(settings)
            assert (found.name, found.key, found.url) == ("photos", key, url)
            assert found.origin == f"in section [{words.get('profile', 'default')}] of azure.ini"

    def test_that_the_setting_names_goes_before_the_variables(
        self, file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_STORAGE_KEY", OTHER)
        assert azure_account(MediaCacheConfig(azure_credentials_file=file)).key == KEY

    def test_a_section_that_is_missing(self, file: str) -> None:
        with pytest.raises(ConfigError, match=r"no section \[other\]; there are: default, sas, app"):
            azure_account(MediaCacheConfig(azure_credentials_file=file, azure_profile="other"))


class TestSettings:
    def test_go_before_everything_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = account(monkeypatch, {"sas_token": "sv=2&sig=y"}, account_name="photos", account_key=KEY)
        assert (found.key, found.sas) == (None, "sv=2&sig=y")
        assert found.description == "the Azure SAS token in extra_client_kwargs"

    def test_take_other_names_of_the_same_values(self, monkeypatch: pytest.MonkeyPatch) -> None:
        url = "http://127.0.0.1:1/photos"
        for words in (
            {"account": "photos", "endpoint_url": url, "account_key": KEY},
            {"connection_string": f"AccountName=photos;AccountKey={KEY};BlobEndpoint={url}"},
        ):
            found = account(monkeypatch, words)
            assert (found.name, found.url, found.key) == ("photos", url, KEY)

    def test_have_one_kind_of_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = account(
            monkeypatch,
            {"sas_token": "sv=2&sig=y"},
            conn_str=f"AccountName=photos;AccountKey={OTHER}",
            client_id="id",
            client_secret="secret",
            tenant="tenant",
        )
        assert (found.name, found.key, found.client, found.sas) == ("photos", None, None, "sv=2&sig=y")

    def test_that_mean_nothing_to_downloads_are_logged_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("forebay.sources.client_words._told", set())
        caplog.set_level("INFO", logger="forebay")
        words = {"anonymous": True, "max_block_size": 1000, "connection_timeout": 3}
        for _ in range(2):
            access = azure_access(MediaCacheConfig(extra_client_kwargs={"azure": words}))
        assert access.limits.connect_seconds == 3
        assert [record.getMessage() for record in caplog.records] == [
            "'max_block_size' in extra_client_kwargs for 'azure' means nothing to downloads"
        ]

    def test_reach_azures_client(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        # Given what says whom to trust, by what way, and for how long to wait
        given: dict[str, Any] = {}
        monkeypatch.setattr(
            "azure.core.pipeline.transport.RequestsTransport", lambda **arguments: given.update(arguments)
        )
        monkeypatch.setattr(
            "azure.storage.blob.BlobServiceClient", lambda url, **arguments: given.update(arguments, url=url)
        )
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
        bundle = tmp_path / "bundle.pem"
        bundle.write_text(Path(certifi.where()).read_text())
        words = {"verify": str(bundle), "read_timeout": 7, "connection_timeout": 3, "max_block_size": 9}
        for more, kind in (
            ({"account": "photos", "account_key": KEY}, "AzureNamedKeyCredential"),
            ({"account": "photos", "sas_token": "sig=x"}, "AzureSasCredential"),
            ({"account": "photos", "account_key": KEY, "anonymous": True}, "NoneType"),
        ):
            azure_access(MediaCacheConfig(extra_client_kwargs={"azure": words | more})).client(HOST)
            assert type(given["credential"]).__name__ == kind
        assert given["url"] == HOST
        assert given["connection_verify"] == str(bundle)
        assert (given["connection_timeout"], given["read_timeout"]) == (3, 7)
        assert (given["retry_total"], given["max_block_size"]) == (0, 9)
        assert given["proxies"] == dict.fromkeys(("http", "https"), "http://127.0.0.1:3128")
        assert given["use_env_settings"] is False

        # And where nothing is verified, it verifies nothing; another attempt is the user's wish
        words |= {"account": "photos", "account_key": KEY, "verify": False, "retry_total": 2}
        azure_access(MediaCacheConfig(extra_client_kwargs={"azure": words})).client(HOST)
        assert (given["connection_verify"], given["retry_total"]) == (False, 2)

    def test_an_application_is_asked_by_its_tenant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("azure.identity.ClientSecretCredential", lambda *values: values)
        words = {"client_id": "id", "client_secret": "secret", "tenant": "tenant"}
        access = azure_access(MediaCacheConfig(extra_client_kwargs={"azure": words}))
        assert access.tokens.credential == ("tenant", "id", "secret")
        assert access.description == "the Azure client secret in extra_client_kwargs"

    def test_a_tenant_that_is_none_is_named_and_not_repeated(self) -> None:
        words = {"client_id": "id", "client_secret": "s3cr3t", "tenant": "s3cr3t/x"}
        with pytest.raises(ConfigError, match="check AZURE_TENANT_ID") as raised:
            azure_access(MediaCacheConfig(extra_client_kwargs={"azure": words}))
        assert "s3cr3t" not in str(raised.value)

    def test_take_the_words_of_azures_client(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
        words = {"read_timeout": 7, "max_single_get_size": 1000, "sas_token": "sv=1&sig=x"}
        access = azure_access(MediaCacheConfig(extra_client_kwargs={"azure": words}))
        assert access.limits.idle_seconds == 7
        assert access.arguments == {"max_single_get_size": 1000}
        assert access.client(HOST).url.startswith(HOST)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ({"acount_key": "x"}, "'azure' has no 'acount_key'; did you mean 'account_key'"),
            ({"read_timeout": "long"}, "has a 'read_timeout' that is no number of seconds: 'long'"),
            ({"read_timeout": True}, "has a 'read_timeout' that is no number of seconds: True"),
            ({"connection_timeout": 0}, "has a 'connection_timeout' that is no number of seconds: 0"),
        ],
    )
    def test_that_mean_nothing_are_refused(self, words: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            azure_access(MediaCacheConfig(extra_client_kwargs={"azure": words}))

    def test_without_azures_packages_say_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "azure.storage.blob", None)
        with pytest.raises(SourceError, match=r"az://: needs .*: pip install 'forebay\[azure\]'"):
            azure_access(MediaCacheConfig())

    def test_may_ask_for_no_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = account(monkeypatch, {"anonymous": True}, account_name="photos", account_key=KEY)
        assert found.anonymous
        assert found.description == "no credentials (the setting asks for none)"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"account_key": KEY}, "account_key in the environment needs account_name"),
        ({"account_name": "Photos!", "account_key": KEY}, "is no name of a storage account"),
        ({"account_name": "photos", "account_key": "s3cr3t"}, "is no account key: it is not in base64"),
        ({"account_name": "photos", "account_key": "s3cr3t!!"}, "is no account key: it is not in base64"),
        ({"account_name": "photos", "account_key": "s3cr3t two"}, "has a blank"),
        ({"account_url": "photos.blob.core.windows.net"}, "must begin with http"),
        ({"conn_str": "s3cr3t"}, "is no connection string: it needs AccountName and AccountKey"),
        ({"conn_str": "AccountName=photos;AccountKee=s3cr3t"}, "is no connection string"),
        ({"conn_str": "AccountKey=s3cr3t=="}, "is no connection string"),
        ({"conn_str": "UseDevelopmentStorage=true"}, "UseDevelopmentStorage is not supported"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_repeated(
    values: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        account(monkeypatch, **values)
    assert "s3cr3t" not in str(raised.value)


class TestUrls:
    @pytest.fixture
    def config(self, monkeypatch: pytest.MonkeyPatch) -> MediaCacheConfig:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
        monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
        return MediaCacheConfig()

    @pytest.mark.parametrize(
        ("uri", "url"),
        [
            ("az://day/a b/ü#?.jpg", f"{HOST}/day/a%20b/%C3%BC%23%3F.jpg"),
            ("az://$web/a", f"{HOST}/$web/a"),
            ("abfss://day@photos.dfs.core.windows.net/a//b", f"{HOST}/day/a//b"),
            ("abfs://day@photos.blob.core.windows.net/a/../b", f"{HOST}/day/a/../b"),
        ],
    )
    def test_of_blobs(self, config: MediaCacheConfig, uri: str, url: str) -> None:
        assert azure_source(config).url(parse(uri)) == url

    def test_a_key_is_sent_to_no_other_account(self, config: MediaCacheConfig) -> None:
        uri = parse("abfss://day@other.dfs.core.windows.net/a")
        with pytest.raises(SourceError, match=r"is for the storage account https:\S+, not for other"):
            azure_source(config).request(uri)

    def test_a_sas_is_sent_to_no_other_account(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source = azure_source(
            MediaCacheConfig(extra_client_kwargs={"azure": {"account_url": f"{HOST}?sig=s3cr3t"}})
        )
        uri = parse("abfss://day@other.dfs.core.windows.net/a")
        with pytest.raises(
            SourceError, match=r"is for the storage account https:\S+, not for other"
        ) as raised:
            source.request(uri)
        assert "s3cr3t" not in str(raised.value)

    def test_without_an_account_the_uri_names_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source = azure_source(MediaCacheConfig(extra_client_kwargs={"azure": {"anonymous": True}}))
        there = "https://other.blob.core.windows.net/day/a"
        assert source.url(parse("abfss://day@other.dfs.core.windows.net/a")) == there
        with pytest.raises(SourceError, match="no storage account is configured; set AZURE_STORAGE_ACCOUNT"):
            source.url(parse("az://day/a"))

    @pytest.mark.parametrize("container", ["UPPER", "a", "a--b", "-ab", "a_b", "..", "a" * 64])
    def test_what_is_no_container_is_asked_for_nowhere(
        self, config: MediaCacheConfig, container: str
    ) -> None:
        with pytest.raises(SourceError, match="is no name of a container"):
            azure_source(config).request(parse(f"az://{container}/a"))

    def test_one_sas_serves_all_requests_of_a_container(self, config: MediaCacheConfig) -> None:
        source = azure_source(config)
        first, second = (source.request(parse(f"az://day/{name}")).url for name in "ab")
        assert first.partition("?")[2] == second.partition("?")[2] != ""
        assert "sp=rl" in first
        same = source.request(parse("abfss://day@photos.dfs.core.windows.net/b")).url
        assert same == second, "its container is the same"
        assert KEY not in first
        assert source.request(parse("az://night/a")).url.partition("?")[2] != first.partition("?")[2]

    def test_nothing_is_sent_where_nothing_shall_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
        config = MediaCacheConfig(extra_client_kwargs={"azure": {"anonymous": True}})
        assert azure_source(config).access.tokens.credential is None, "no login is looked for"
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sig=s3cr3t")
        source = azure_source(config)
        request = source.request(parse("az://day/a"))
        assert request.url == f"{HOST}/day/a"
        assert "Authorization" not in dict(request.headers)

    def test_what_an_answer_says_of_a_blob(self, config: MediaCacheConfig) -> None:
        lines = [b"Content-Length: 5\r\n", b'ETag: "0x8DE1"\r\n', b"Content-Type: image/jpeg\r\n"]
        lines.append(b"Content-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n")
        uri = parse("az://day/a.jpg")
        info = azure_source(config).describe(uri, Head(200, Headers(lines)))
        assert (info.uri, info.size, info.etag, info.content_type, info.md5) == (
            uri.raw,
            5,
            '"0x8DE1"',
            "image/jpeg",
            "5d41402abc4b2a76b9719d911017c592",
        )

    def test_what_is_packed_on_the_way_is_unpacked_unless_its_name_says_so(
        self, config: MediaCacheConfig
    ) -> None:
        source = azure_source(config)
        for name, decode in (("a.jpg", True), ("a.tar.gz", False)):
            assert source.request(parse(f"az://day/{name}")).route.decode is decode

    def test_requests_wait_as_long_as_the_settings_say(self, config: MediaCacheConfig) -> None:
        settings = config.model_copy(update={"read_timeout_seconds": 7.0})
        assert azure_source(settings).request(parse("az://day/a")).limits.idle_seconds == 7

    def test_a_part_is_an_answer_where_one_was_asked_for(self, config: MediaCacheConfig) -> None:
        source, uri = azure_source(config), parse("az://day/a")
        assert set(source.request(uri).accept) == {200}
        assert set(source.request(uri, span=(0, 9)).accept) == {200, 206}

    def test_what_is_said_of_them(self, config: MediaCacheConfig) -> None:
        said = f"the Azure account key in the environment; the storage account photos at {HOST}"
        assert azure_source(config).explain(parse("az://day/a")) == said

    @pytest.mark.parametrize("host", ["evil.example", "photos.dfs.core.windows.net.evil.example", "x.y"])
    def test_credentials_go_to_no_host_that_is_not_azures(self, host: str) -> None:
        with pytest.raises(UriError, match="has '@' or ':'"):
            parse(f"abfss://day@{host}/a")
