"""Aliases: other names for ``minio://``, in every place that takes a URI."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from forebay.config import MediaCacheConfig, learn_aliases
from forebay.errors import ConfigError, UriError
from forebay.manifests.prefixes import check_target, is_prefix, looks_like_prefix
from forebay.sources.allowlist import Allowlist
from forebay.sources.credential_rules import CredentialRules
from forebay.uri import canonical_uri, entry_of, is_local, parse, parse_object, redact
from forebay.uri.aliases import aliases, forget


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> MediaCacheConfig:
    """Settings whose environment calls MinIO ``lab``."""
    monkeypatch.setenv("MINIO_ALIAS", "lab")
    return MediaCacheConfig()


def ini(tmp_path: Path, text: str) -> str:
    file = tmp_path / "minio.ini"
    file.write_text(text)
    return str(file)


# Those that every process knows.
AZURE = ("abfs", "abfss")
# What means something elsewhere, besides the schemes.
TAKEN = (*AZURE, "az", "gcs", "s3a", "s3n", "redis", "rediss", "unix", "data")


class TestWhereItIsDeclared:
    def test_in_the_file_that_the_setting_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("MINIO_ALIAS", "of-the-environment")
        path = ini(tmp_path, "[default]\nalias = first\n[two]\nalias = Second\n")
        MediaCacheConfig(minio_config_file=path)
        assert aliases() == (*AZURE, "first")
        MediaCacheConfig(minio_config_file=path, minio_profile="two")
        assert aliases() == (*AZURE, "first", "second")

    def test_in_the_environment_which_goes_before_its_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("MINIO_CONFIG_FILE", ini(tmp_path, "[default]\nalias = first\n"))
        learn_aliases()
        assert aliases() == (*AZURE, "first")
        forget()
        monkeypatch.setenv("MINIO_ALIAS", "variable")
        learn_aliases()
        assert aliases() == (*AZURE, "variable")

    def test_other_settings_that_are_wrong_are_not_the_error_of_aliases(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("MINIO_ALIAS", "lab")
        monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_NUM_WORKERS", "several")
        learn_aliases()
        with pytest.raises(ConfigError, match="NUM_WORKERS"):
            MediaCacheConfig()

    def test_with_blanks_around_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("MINIO_ALIAS", " lab\n")
        learn_aliases()
        assert aliases() == (*AZURE, "lab")

    def test_of_azure(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        file = tmp_path / "azure.ini"
        file.write_text("[default]\nalias = ours\n")
        MediaCacheConfig(azure_credentials_file=str(file))
        monkeypatch.setenv("AZURE_ALIAS", "theirs")
        learn_aliases()
        for alias in ("ours", "theirs"):
            assert parse(f"{alias}://c/a/b.jpg").scheme == "az"
            assert entry_of(f"{alias}://c/a/b.jpg") == entry_of("az://c/a/b.jpg")
            assert is_prefix(f"{alias}://c/a/")

    @pytest.mark.parametrize(
        ("scheme", "setting"), [("az", "azure_credentials_file"), ("minio", "minio_config_file")]
    )
    def test_in_a_section_that_only_a_rule_of_credentials_names(
        self, tmp_path: Path, scheme: str, setting: str
    ):
        path = ini(tmp_path, "[default]\nalias = ours\n[two]\nalias = theirs\n[three]\nalias = nobodys\n")
        # A file of the rule's own, by its section or by `default`; a section of the file of the settings.
        for alias, rule, settings in (
            ("theirs", {"credentials_file": path, "profile": "two"}, {}),
            ("ours", {"credentials_file": path}, {}),
            ("theirs", {"profile": "two"}, {setting: path}),
        ):
            forget()
            config = MediaCacheConfig(credentials={f"{scheme}://team-*": rule}, **settings)
            assert entry_of(f"{alias}://team-{scheme}/x.jpg") == f"{scheme}/team-{scheme}/x.jpg"
            assert "nobodys" not in aliases()
            found = CredentialRules(config).of(parse(f"{alias}://team-{scheme}/x.jpg"))
            assert found is not None
            sent = pickle.dumps(config)
            forget()
            pickle.loads(sent)
            assert alias in aliases()

    def test_of_a_rule_begins_the_prefixes_of_other_rules(self, tmp_path: Path):
        path = ini(tmp_path, "[default]\nalias = ours\n")
        rules = {"ours://photos/": {"anonymous": True}, "az://": {"credentials_file": path}}
        rule = CredentialRules(MediaCacheConfig(credentials=rules)).of(parse("az://photos/x.jpg"))
        assert rule is not None
        assert rule.prefix == "ours://photos/"

    def test_of_two_rules_that_contradict_each_other(self, tmp_path: Path):
        path = ini(tmp_path, "[default]\nalias = ours\n")
        rules = {f"{scheme}://": {"credentials_file": path} for scheme in ("az", "minio")}
        with pytest.raises(ConfigError) as raised:
            MediaCacheConfig(credentials=rules)
        assert str(raised.value) == (
            f"alias in {path}='ours' stands for az:// already, by alias in {path}; choose another one"
        )
        assert raised.value.setting == "credentials"

    def test_in_a_file_of_a_rule_that_is_not_there_is_the_error_of_its_server(self):
        MediaCacheConfig(credentials={"az://": {"credentials_file": "/there/is/none"}})
        assert aliases() == AZURE

    def test_of_aws_and_google_there_is_none(self, tmp_path: Path):
        path = ini(tmp_path, "[default]\nalias = ours\n")
        MediaCacheConfig(credentials={f"{scheme}://": {"credentials_file": path} for scheme in ("s3", "gs")})
        assert aliases() == AZURE

    def test_two_settings_of_a_process_that_contradict_each_other(
        self, lab: MediaCacheConfig, monkeypatch: pytest.MonkeyPatch
    ):
        MediaCacheConfig()  # the same again is none
        monkeypatch.delenv("MINIO_ALIAS")
        monkeypatch.setenv("AZURE_ALIAS", "lab")
        with pytest.raises(ConfigError) as raised:
            MediaCacheConfig()
        assert str(raised.value) == (
            "environment variable AZURE_ALIAS='lab' stands for minio:// already, by environment variable "
            "MINIO_ALIAS; choose another one"
        )

    def test_a_file_that_is_not_there_is_the_error_of_its_server(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("MINIO_CONFIG_FILE", "/there/is/none")
        MediaCacheConfig(minio_config_file="/nor/here")
        assert aliases() == AZURE

    def test_settings_that_another_process_gets_bring_it_along(self, tmp_path: Path):
        settings = MediaCacheConfig(minio_config_file=ini(tmp_path, "[default]\nalias = lab\n"))
        sent = pickle.dumps(settings)
        forget()
        assert pickle.loads(sent) == settings
        assert aliases() == (*AZURE, "lab")

    @pytest.mark.parametrize(
        ("alias", "reason"),
        [
            ("s3", "is the name of another kind of URI, s3://; choose another one"),
            ("MinIO", "is the name of another kind of URI, minio://; choose another one"),
            ("file", "is the name of another kind of URI"),
            *((name, "is the name of another kind of URI") for name in TAKEN),
            ("my lab", "must begin with a letter"),
            ("lab://", "must begin with a letter"),
            ("9lab", "must begin with a letter"),
            ("l" * 40, "must begin with a letter"),
        ],
    )
    def test_one_that_cannot_be_is_refused_with_its_place(
        self, alias: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        monkeypatch.setenv("MINIO_ALIAS", alias)
        with pytest.raises(ConfigError) as raised:
            MediaCacheConfig()
        assert str(raised.value).startswith(f"environment variable MINIO_ALIAS='{alias.lower()}' {reason}")
        monkeypatch.delenv("MINIO_ALIAS")
        path = ini(tmp_path, f"[default]\nalias = {alias}\n")
        with pytest.raises(ConfigError, match=reason) as raised:
            MediaCacheConfig(minio_config_file=path)
        assert str(raised.value).startswith(f"alias in {path}=")
        assert raised.value.setting == "minio_config_file"


class TestWhatItMeans:
    @pytest.mark.parametrize("uri", ["lab://b/a/k.jpg", "LAB://b/a/k.jpg"])
    def test_one_entry_with_the_scheme(self, lab: MediaCacheConfig, uri: str):
        parsed = parse_object(uri)
        assert (parsed.scheme, parsed.bucket, parsed.key) == ("minio", "b", "a/k.jpg")
        assert parsed == parse(uri)
        assert parsed.entry == entry_of(uri) == entry_of("minio://b/a/k.jpg") == "minio/b/a/k.jpg"
        assert (parsed.raw, parsed.redacted, parsed.root) == (uri, "lab://b/a/k.jpg", "lab://b/")
        assert canonical_uri(uri) == "minio://b/a/k.jpg"

    def test_a_key_is_one_of_a_bucket_not_of_a_url(self, lab: MediaCacheConfig):
        assert redact("lab://b/a?b=c#d") == "lab://b/a?b=c#d"
        assert parse("lab://b/a?b=c#d").key == "a?b=c#d"
        assert redact("lab://user:secret@b/x") == "lab://b/x"

    def test_unknown_it_is_no_scheme(self):
        with pytest.raises(UriError, match="has the scheme 'lab', which Forebay cannot fetch"):
            parse("lab://b/k")
        assert canonical_uri("lab://b/k") == "lab://b/k"

    @pytest.mark.parametrize("text", ["lab", "lab:", "lab:/b/k", "/lab://b", "abfs", ""])
    def test_what_is_no_uri_stays(self, lab: MediaCacheConfig, text: str):
        assert canonical_uri(text) == text

    def test_in_every_place_that_looks_at_the_text(self, lab: MediaCacheConfig):
        assert not is_local("lab://b/k")
        assert is_prefix("lab://b/x/")
        assert is_prefix("lab://b")
        assert not is_prefix("lab://b/x.jpg")
        assert looks_like_prefix("lab://b/x")
        check_target("lab://b/x.jpg")
        # A slip is one, as with schemes.
        assert not is_local("lab:/b/k")
        with pytest.raises(UriError, match=r"one slash after its scheme.*'lab://b/k'"):
            parse("lab:/b/k")

    def test_in_the_allowlist(self, lab: MediaCacheConfig):
        for prefix in ("lab://b/", "minio://b/"):
            allowlist = Allowlist([prefix])
            for uri in ("lab://b/k", "minio://b/k"):
                allowlist.check(parse(uri))

    def test_in_the_prefixes_of_credentials(self, lab: MediaCacheConfig):
        config = MediaCacheConfig(credentials={"lab://b/": {"profile": "x"}})
        for uri in ("lab://b/k", "minio://b/k"):
            rule = CredentialRules(config).of(parse(uri))
            assert rule is not None
            assert rule.prefix == "lab://b/"
        with pytest.raises(ConfigError, match="'lab://b/' has 'account'; lab:// takes"):
            MediaCacheConfig(credentials={"lab://b/": {"account": "x"}})

    def test_in_the_prefixes_of_the_settings_that_declare_it(self, tmp_path: Path):
        path = ini(tmp_path, "[default]\nalias = lab\n")
        with pytest.raises(ConfigError, match="'lab://b/' has 'account'; lab:// takes"):
            MediaCacheConfig(minio_config_file=path, credentials={"lab://b/": {"account": "x"}})
        forget()
        config = MediaCacheConfig(minio_config_file=path, credentials={"lab://b/": {"profile": "x"}})
        assert CredentialRules(config).of(parse("minio://b/k")) is not None
