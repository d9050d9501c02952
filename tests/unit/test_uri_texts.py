"""What is shown of a URI, what is refused, and what is a local path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import UriError
from forebay.uri import Layout, entry_of, is_local, local_file, parse, parse_object, redact

LAYOUT = Layout("/cache")
FOLDING = Layout("/cache", fold_case=True)


class TestSecrets:
    SECRET = "s3cr3t"

    @pytest.mark.parametrize(
        ("uri", "expected"),
        [
            ("https://user:s3cr3t@host/a.jpg", "https://host/a.jpg"),
            ("https://s3cr3t@host/a.jpg", "https://host/a.jpg"),
            ("https://host/a.jpg?sig=s3cr3t", "https://host/a.jpg?…"),
            ("https://host/a.jpg#token=s3cr3t", "https://host/a.jpg"),
            ("https://host/a@b.jpg", "https://host/a@b.jpg"),
            ("http://[::1]:80/a", "http://[::1]:80/a"),
            ("s3://bucket/what?.jpg", "s3://bucket/what?.jpg"),
            ("/local/path?x", "/local/path?x"),
            # None of these can be fetched; they are shown in the error that says so.
            ("https://host?sig=aaa/s3cr3t", "https://host?…"),
            ("https://user:pa/s3cr3t@host/a.jpg", "https://…"),
            ("https://user:s3cr3t", "https://…"),
            ("https://user:s3cr3t?@host/", "https://…"),
            ("s3://key:s3cr3t@bucket/a.jpg", "s3://bucket/a.jpg"),
            ("s3://key:pa/s3cr3t@bucket/a.jpg", "s3://…"),
            ("ftp://user:s3cr3t@host/a", "ftp://host/a"),
            ("az://container/a?sig=s3cr3t", "az://container/a?…"),
            ("az://container/a?sv=1&Sig=s3cr3t", "az://container/a?…"),
            ("abfss://c@user:s3cr3t@host/a", "abfss://host/a"),
            # What is no login, but a container of an account, is shown.
            ("abfss://c@account.dfs.core.windows.net/a?b", "abfss://c@account.dfs.core.windows.net/a?b"),
            (
                "abfss://c@account.dfs.core.windows.net/a?sig=s3cr3t",
                "abfss://c@account.dfs.core.windows.net/a?…",
            ),
            ("abfss://c@account.dfs.core.windows.net.evil/a", "abfss://account.dfs.core.windows.net.evil/a"),
        ],
    )
    def test_what_is_shown(self, uri: str, expected: str) -> None:
        assert redact(uri) == expected
        assert self.SECRET not in redact(uri)

    @given(
        st.sampled_from(["http", "https", "s3", "gs", "ftp"]),
        st.sampled_from(["", "user:", ":", "a@b:", "é:"]),
        st.text(max_size=3),
        st.text(st.characters(exclude_characters="/?#"), max_size=3),
    )
    def test_no_password_is_shown(self, scheme: str, user: str, path: str, junk: str) -> None:
        assert self.SECRET not in redact(f"{scheme}://{user}{self.SECRET}{junk}@host/{path}")

    @given(st.text(max_size=20))
    def test_whatever_is_wrong_the_error_holds_no_secret(self, junk: str) -> None:
        for uri in (f"https://u:s3cr3t@{junk}/", f"https://h{junk}/?s3cr3t", f"xx://u:s3cr3t@{junk}"):
            try:
                shown = str(parse(uri)) + repr(parse(uri))
            except UriError as error:
                shown = str(error)
            assert self.SECRET not in shown

    def test_a_parsed_uri_shows_none(self) -> None:
        parsed = parse("https://user:s3cr3t@Host:443/a%20b.jpg?sig=s3cr3t#s3cr3t")
        assert parsed.redacted == str(parsed) == "https://host/a%20b.jpg?…"
        assert self.SECRET not in repr(parsed)
        assert parsed.raw.count(self.SECRET) == 3


class TestErrors:
    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            (
                "/data/a.jpg",
                "'/data/a.jpg' is a local path, not a media URI; expected s3://bucket/key, gs://bucket/key, "
                "minio://bucket/key, az://container/blob, an http(s):// URL, or a local path",
            ),
            (
                "ftp://host/a",
                "'ftp://host/a' has the scheme 'ftp', which Forebay cannot fetch; expected s3://bucket/key, "
                "gs://bucket/key, minio://bucket/key, az://container/blob, an http(s):// URL, "
                "or a local path",
            ),
            (
                "az://container/a.jpg?sv=2021&sig=s3cr3t",
                "'az://container/a.jpg?…' has a SAS in it; set AZURE_STORAGE_SAS_TOKEN, or write the "
                "https:// URL with the SAS",
            ),
            (
                "az://user:s3cr3t@account/a.jpg",
                "'az://account/a.jpg' has '@' or ':' in its bucket's name, which no az server allows; "
                "credentials belong in the environment or the settings",
            ),
            ("s3:///key", "'s3:///key' names no bucket; expected s3://bucket/key"),
            (
                "s3://id:s3cr3t@bucket/key",
                "'s3://bucket/key' has '@' or ':' in its bucket's name, which no s3 server allows; "
                "credentials belong in the environment or the settings",
            ),
            (
                "gs://id:s3/cr3t@bucket/key",
                "'gs://…' has '@' or ':' in its bucket's name, which no gs server allows; "
                "credentials belong in the environment or the settings",
            ),
            ("gs://b/\ud800", "'gs://b/\\ud800' holds half of a surrogate pair, which no key can"),
            ("https:///a", "'https:///a' names no host; expected https://host/path"),
            (
                "https://u:s3cr3t@host:port/a",
                "'https://…' is not a valid URL: its host or port cannot be read",
            ),
            ("http://[::1/a", "'http://…' is not a valid URL: its host or port cannot be read"),
            (
                "https://u:s3cr3t@ho℀st/a",
                "'https://ho℀st/a' is not a valid URL: its host or port cannot be read",
            ),
            (
                "https://evil\\@good/a",
                "'https://good/a' is not a valid URL: its host holds a character that no host may",
            ),
            (
                "https://host/a\nb",
                "'https://host/a\\nb' holds a control character or invalid UTF-8; percent-encode it",
            ),
            (
                "https://host/\udcff",
                "'https://host/\\udcff' holds a control character or invalid UTF-8; percent-encode it",
            ),
        ],
        ids=ascii,
    )
    def test_what_cannot_be_parsed(self, uri: str, message: str) -> None:
        with pytest.raises(UriError) as raised:
            parse(uri)
        assert str(raised.value) == message
        with pytest.raises(UriError):
            entry_of(uri)

    @pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/"])
    def test_a_bucket_is_a_prefix_but_no_object(self, uri: str) -> None:
        assert parse(uri).key == ""
        with pytest.raises(UriError) as raised:
            parse_object(uri)
        assert str(raised.value) == f"{uri!r} names a bucket but no object; expected s3://bucket/key"

    @given(st.text())
    def test_whatever_it_is_given_it_answers_or_refuses(self, text: str) -> None:
        for uri in (text, f"s3://{text}", f"https://{text}", f"s3://b/{text}", f"https://h/{text}"):
            redact(uri)
            try:
                name = entry_of(uri)
            except UriError:
                continue
            assert LAYOUT.entry(LAYOUT.path(name)) == name
            assert FOLDING.entry(FOLDING.path(name)) == name


class TestLocal:
    @pytest.mark.parametrize(
        ("uri", "path"),
        [
            ("/data/a.jpg", "/data/a.jpg"),
            ("relative/a b%20.jpg", "relative/a b%20.jpg"),
            ("file:///data/a%20b.jpg", "/data/a b.jpg"),
            ("FILE:///data/%FF", "/data/\udcff"),
        ],
    )
    def test_local_paths(self, uri: str, path: str) -> None:
        assert is_local(uri)
        assert local_file(uri) == path

    @pytest.mark.parametrize("uri", ["s3://b/k", "HTTPS://host/", "ftp://host/a"])
    def test_remote_ones(self, uri: str) -> None:
        assert not is_local(uri)
