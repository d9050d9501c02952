"""TLS, proxies and passwords from the environment, which is read in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from forebay.errors import ConfigError
from forebay.transport.passwords import login_of
from forebay.transport.proxies import proxies_from
from forebay.transport.tls import TLS, VARIABLES, tls_from


@pytest.fixture(autouse=True)
def no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    path = tmp_path / "bundle.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    return str(path)


class TestTLS:
    def test_certifi_is_trusted_where_nothing_is_said(self):
        tls = tls_from(os.environ)

        assert tls.verify
        assert tls.bundle is not None
        assert tls.bundle.endswith("cacert.pem")

    @pytest.mark.parametrize("variable", VARIABLES)
    def test_every_variable_counts(self, bundle: str, variable: str):
        assert tls_from({variable: bundle}) == TLS(bundle)

    @pytest.mark.parametrize("first", range(len(VARIABLES) - 1))
    def test_the_first_one_counts(self, bundle: str, first: int):
        environment = {VARIABLES[first]: bundle} | dict.fromkeys(VARIABLES[first + 1 :], "/missing")

        assert tls_from(environment).bundle == bundle

    @pytest.mark.parametrize("variable", VARIABLES)
    def test_an_empty_one_does_not(self, variable: str):
        assert tls_from({variable: ""}) == tls_from({})

    @pytest.mark.parametrize("variable", VARIABLES)
    def test_a_missing_file_is_an_error_that_names_the_variable(self, variable: str):
        with pytest.raises(ConfigError, match=f"{variable}: there is no file '/missing.pem'"):
            tls_from({variable: "/missing.pem"})

    @pytest.mark.parametrize("variable", VARIABLES)
    @pytest.mark.parametrize("text", ["", "hello\n", "-----BEGIN PRIVATE KEY-----\n"])
    def test_a_file_without_certificates_is_an_error_that_names_the_variable(
        self, tmp_path: Path, variable: str, text: str
    ):
        (tmp_path / "ca.pem").write_text(text)
        with pytest.raises(ConfigError, match=f"{variable}: the file .*ca.pem' holds no certificate in PEM"):
            tls_from({variable: str(tmp_path / "ca.pem")})

    def test_blanks_around_a_path_do_not_count(self, bundle: str):
        assert tls_from({"AWS_CA_BUNDLE": f" {bundle}\n"}).bundle == bundle

    def test_a_directory_is_one_of_certificates(self, tmp_path: Path):
        assert tls_from({"REQUESTS_CA_BUNDLE": str(tmp_path)}) == TLS(directory=str(tmp_path))

    @pytest.mark.parametrize(
        ("verify", "expected"), [(False, TLS(verify=False)), (True, "environment"), (None, "environment")]
    )
    def test_a_setting_counts_before_the_environment(
        self, bundle: str, verify: bool | None, expected: object
    ):
        wanted = TLS(bundle) if expected == "environment" else expected

        assert tls_from({"AWS_CA_BUNDLE": bundle}, verify=verify) == wanted

    def test_a_setting_may_be_a_path(self, bundle: str):
        assert tls_from({"AWS_CA_BUNDLE": "/missing"}, verify=bundle) == TLS(bundle)
        with pytest.raises(ConfigError, match="setting verify of s3: there is no file"):
            tls_from({}, verify="/missing", setting="setting verify of s3")

    def test_a_client_shows_its_certificate(self, bundle: str):
        assert tls_from({}, verify=False, cert=bundle) == TLS(verify=False, certificate=bundle)
        assert tls_from({}, verify=bundle, cert=(bundle, bundle)).key == bundle
        with pytest.raises(ConfigError, match="there is no file"):
            tls_from({}, cert="/missing")


P = "http://proxy:3128"
PROXIES = [
    # environment, URL, proxy
    ({}, "http://host/x", None),
    ({"http_proxy": P}, "http://host/x", P),
    ({"http_proxy": P}, "https://host/x", None),
    ({"HTTP_PROXY": P}, "http://host/x", P),
    ({"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, "http://host/x", None),
    ({"http_proxy": "", "HTTP_PROXY": P}, "http://host/x", None),
    ({"HTTPS_PROXY": "proxy:3128"}, "https://host/x", P),
    ({"ALL_PROXY": "socks5h://proxy:1080"}, "https://host/x", "socks5h://proxy:1080"),
    ({"all_proxy": "socks4a://proxy"}, "http://host/x", "socks4a://proxy"),
    ({"https_proxy": "https://u:p@proxy", "all_proxy": P}, "https://host/x", "https://u:p@proxy"),
    ({"http_proxy": P + "/", "no_proxy": "other"}, "http://host/x", P),
    ({"http_proxy": P, "no_proxy": "*"}, "http://host/x", None),
    ({"http_proxy": P, "no_proxy": "a, host"}, "http://host/x", None),
    ({"http_proxy": P, "NO_PROXY": "host"}, "http://sub.host/x", None),
    ({"http_proxy": P, "NO_PROXY": ".host"}, "http://sub.host/x", None),
    ({"http_proxy": P, "NO_PROXY": "*.host"}, "http://sub.host/x", None),
    ({"http_proxy": P, "NO_PROXY": "host"}, "http://ghost/x", P),
    ({"http_proxy": P, "NO_PROXY": "HOST."}, "http://host/x", None),
    ({"http_proxy": P, "NO_PROXY": "host:80"}, "http://host/x", None),
    ({"http_proxy": P, "NO_PROXY": "host:81"}, "http://host/x", P),
    ({"http_proxy": P, "NO_PROXY": "host:99999999"}, "http://host/x", P),
    ({"http_proxy": P, "NO_PROXY": "host:http"}, "http://host/x", P),
    ({"http_proxy": P, "NO_PROXY": "host:8080"}, "http://host:8080/x", None),
    ({"http_proxy": P, "NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3:9000/x", None),
    ({"http_proxy": P, "NO_PROXY": "10.0.0.0/8"}, "http://11.1.2.3/x", P),
    ({"http_proxy": P, "NO_PROXY": "10.1.2.3"}, "http://10.1.2.3/x", None),
    ({"http_proxy": P, "NO_PROXY": "10.1.2.3:9000"}, "http://10.1.2.3:9000/x", None),
    ({"http_proxy": P, "NO_PROXY": "fd00::/8"}, "http://[fd00::1]:80/x", None),
    ({"http_proxy": P, "NO_PROXY": "[::1]:80"}, "http://[::1]/x", None),
    ({"http_proxy": P, "NO_PROXY": "::1"}, "http://[::2]/x", P),
]


class TestProxies:
    @pytest.mark.parametrize(("environment", "url", "proxy"), PROXIES)
    def test_are_those_of_the_environment(self, environment: Mapping[str, str], url: str, proxy: str | None):
        found = proxies_from(environment).for_url(url)

        assert (found.url if found else None) == proxy

    @pytest.mark.parametrize(
        ("settings", "proxy"),
        [
            ({"http": "http://mine"}, "http://mine"),
            ({"http://host": "http://mine"}, "http://mine"),
            ({"all": "http://mine"}, "http://mine"),
            ({"http": None}, None),
            ({"http": ""}, None),
            ({"https": "http://mine"}, P),
            ({"no_proxy": "host"}, None),
        ],
    )
    def test_of_settings_count_before_them(self, settings: dict[str, str | None], proxy: str | None):
        found = proxies_from({"http_proxy": P}, settings=settings).for_url("http://host/x")

        assert (found.url if found else None) == proxy

    def test_no_proxy_is_not_for_those_of_settings(self):
        proxies = proxies_from({"NO_PROXY": "*"}, settings={"http": "http://mine"})

        assert proxies.for_url("http://host/x") is not None

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("ftp://u:hidden@proxy", "ftp:// is no kind of proxy"),
            ("http:/hidden@proxy:1", "must begin as http://"),
            ("http/hidden@proxy:1", "must begin as http://"),
            ("http://u:hidden%0d%0a@proxy", "encoded control character"),
            ("http://u:hidden%00@proxy", "encoded control character"),
            ("http://u:hidden@", "no host"),
            ("http://u:hidden@proxy:99999", "port"),
            ("http://u:hidden@proxy\n", None),
            ("http://u:hidden@pro xy", "a blank"),
        ],
    )
    def test_that_are_none_are_errors_without_passwords(self, url: str, why: str | None):
        if why is None:
            # A line end at the end is what shells and files leave behind.
            assert proxies_from({"ALL_PROXY": url}).for_url("http://host") is not None
            return
        with pytest.raises(ConfigError, match="environment variable ALL_PROXY: ") as failure:
            proxies_from({"ALL_PROXY": url})

        assert why in str(failure.value)
        assert "hidden" not in str(failure.value)

    def test_passwords_are_never_shown(self):
        found = proxies_from({"ALL_PROXY": "http://user:hidden@proxy:1"}).for_url("http://host/x")

        assert found is not None
        assert found.shown == "http://proxy:1"
        assert "hidden" not in repr(found)


class TestPasswords:
    @pytest.fixture
    def home(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / ".netrc").write_text("machine host login me password secret\n")
        return {"HOME": str(tmp_path)}

    def test_are_found_by_host(self, home: dict[str, str]):
        assert login_of("host", home) == ("me", "secret")
        assert login_of("other", home) is None

    def test_a_broken_file_counts_as_empty(self, tmp_path: Path):
        (tmp_path / ".netrc").write_text("machine\n\xff nonsense")

        assert login_of("host", {"HOME": str(tmp_path)}) is None
        assert login_of("host", {"NETRC": str(tmp_path / "missing")}) is None
