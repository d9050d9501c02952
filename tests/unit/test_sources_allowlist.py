"""Which URIs are admitted, and which addresses are public."""

from __future__ import annotations

import pytest

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, SourceNotAllowedError
from forebay.sources.allowlist import Allowlist, is_public, literal_address
from forebay.sources.sources import Sources
from forebay.uri import parse


def admits(prefix: str, uri: str) -> bool:
    try:
        Allowlist([prefix]).check(parse(uri))
    except SourceNotAllowedError:
        return False
    return True


class TestPrefixes:
    @pytest.mark.parametrize(
        ("prefix", "uri"),
        [
            ("s3://", "s3://bucket/key"),
            ("s3://bucket", "s3://bucket/key"),
            ("s3://bucket/", "s3://bucket/key"),
            ("s3://bucket/folder", "s3://bucket/folder/key"),
            ("s3://bucket/folder/", "s3://bucket/folder/key"),
            ("s3://bucket/a.jpg", "s3://bucket/a.jpg"),
            ("S3://bucket", "s3://bucket/key"),
            ("https://good.com", "https://good.com/x"),
            ("https://good.com", "https://GOOD.com:443/x"),
            ("https://Good.com:443/", "https://good.com/x"),
            ("https://good.com:8443", "https://good.com:8443/x"),
            ("https://good.com/pub", "https://good.com/pub/x?y=1"),
            ("https://good.com/pub", "https://good.com/pub/a/../x"),
            ("https://good.com", "https://user:password@good.com/x"),
            ("http://[::1]:8000", "http://[::1]:8000/x"),
        ],
    )
    def test_admit_what_lies_below_them(self, prefix: str, uri: str):
        assert admits(prefix, uri)

    @pytest.mark.parametrize(
        ("prefix", "uri"),
        [
            ("s3://", "gs://bucket/key"),
            ("s3://bucket", "s3://bucket2/key"),
            ("s3://bucket", "s3://Bucket/key"),
            ("s3://bucket", "gs://bucket/key"),
            ("s3://bucket/folder", "s3://bucket/folder2/key"),
            ("s3://bucket/folder", "s3://bucket/key"),
            ("s3://bucket/folder", "s3://bucket/folder/../key"),
            ("s3://bucket/folder", "s3://bucket/other/../folder/key"),
            ("https://", "http://good.com/x"),
            ("https://good.com", "https://good.com.evil.net/x"),
            ("https://good.com", "https://evil.net/good.com"),
            ("https://good.com", "https://good.com@evil.net/x"),
            ("https://good.com", "https://good.com:8443/x"),
            ("https://good.com", "http://good.com/x"),
            ("https://good.com/pub", "https://good.com/public/x"),
            ("https://good.com/pub", "https://good.com/pub/../x"),
            ("https://good.com/pub", "https://good.com/pub/%2e%2E/x"),
        ],
    )
    def test_admit_nothing_else(self, prefix: str, uri: str):
        assert not admits(prefix, uri)

    def test_that_refuse_name_the_setting(self):
        with pytest.raises(SourceNotAllowedError) as caught:
            Allowlist(["s3://a", "gs://b"]).check(parse("https://user:secret@host/x?token=secret"))

        assert str(caught.value) == (
            "https://host/x?…: not in the setting allowed_sources, which allows s3://a, gs://b"
        )

    @pytest.mark.parametrize("prefix", ["ftp://host/", "http:///path", "file:///"])
    def test_that_cannot_be_meant_are_a_configuration_error(self, prefix: str):
        with pytest.raises(ConfigError, match="setting allowed_sources"):
            Allowlist([prefix])

    def test_are_asked_for_every_uri(self):
        sources = Sources(MediaCacheConfig(allowed_sources=["https://good.com/"]))

        assert sources.for_uri(parse("https://good.com/x")) is sources.for_uri(parse("https://good.com/y"))
        with pytest.raises(SourceNotAllowedError):
            sources.for_uri(parse("https://evil.net/x"))

    def test_trust_a_host_only_when_they_name_it(self):
        uri = parse("http://127.0.0.1:8000/pub/x")

        assert Allowlist(["http://127.0.0.1:8000"]).trusts(uri)
        assert Allowlist(["http://", "http://127.0.0.1:8000/pub/"]).trusts(uri)
        assert not Allowlist(["http://"]).trusts(uri)
        assert not Allowlist(["http://127.0.0.1"]).trusts(uri)
        assert not Allowlist(["http://127.0.0.1:8000/private/"]).trusts(uri)


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:0:c000:204:0:0:80ff:fffe",
        ],
    )
    def test_that_are_not_public(self, address: str):
        assert not is_public(address)

    @pytest.mark.parametrize(
        "address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
    )
    def test_that_are_public(self, address: str):
        assert is_public(address)

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            ("127.0.0.1:8000", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("localhost", "127.0.0.1"),
            ("a.localhost:80", "127.0.0.1"),
            ("[::1]:8000", "::1"),
            ("example.com", None),
            ("1.example.com", None),
            ("ünïcødé.example", None),
        ],
    )
    def test_are_read_in_every_spelling(self, host: str, address: str | None):
        assert literal_address(host) == address
