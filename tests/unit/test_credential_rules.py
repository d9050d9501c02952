"""The setting ``credentials``: which rule is for a URI, what it makes of the settings, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from forebay.config import MediaCacheConfig
from forebay.config.explaining import mask
from forebay.errors import ConfigError
from forebay.sources.aws import aws_access
from forebay.sources.credential_rules import CredentialRules, settings_for
from forebay.sources.minio import minio_access
from forebay.uri import parse

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEYS = {"access_key_variable": "TEAM_KEY", "secret_key_variable": "TEAM_SECRET"}


def refusal(credentials: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        MediaCacheConfig(credentials=credentials)
    assert raised.value.setting == "credentials"
    return str(raised.value)


def config_for(uri: str, words: dict[str, Any], prefix: str = "s3://b/", **settings: Any) -> MediaCacheConfig:
    return settings_for(MediaCacheConfig(credentials={prefix: words}, **settings), parse(uri))


class TestWhichRule:
    @pytest.mark.parametrize(
        ("uri", "prefix"),
        [
            # A bucket by its name goes before patterns, and these before the scheme.
            ("s3://team-a/x", "s3://team-a"),
            ("s3://team-bb/x", "s3://team-*"),
            ("s3://other/x", "s3://"),
            # More characters of the bucket's name.
            ("s3://team-b-raw/x", "s3://team-*-raw"),
            ("s3://team-1/x", "s3://team-?/"),
            # The longer key, which ends at a boundary.
            ("s3://team-a/private/x", "s3://team-a/private/"),
            ("s3://team-a/private/y/x", "s3://team-a/private/y"),
            ("s3://team-a/private/y", "s3://team-a/private/y"),
            ("s3://team-a/private/yz", "s3://team-a/private/"),
            ("s3://team-a/privately", "s3://team-a"),
            ("s3://team-a2/x", "s3://team-*"),
            # The pattern's key does not beat the bucket's name.
            ("s3://team-a/private-of-all/x", "s3://team-a"),
            ("s3://team-b/private-of-all/x", "s3://team-*/private-of-all"),
            # Brackets are no wildcards; names are told from names that differ in case.
            ("s3://Team-a/x", "s3://"),
            ("minio://team-a/x", None),
            ("gs://team-a/x", "gs://team-a/"),
            ("https://team-a/x", None),
        ],
    )
    def test_the_most_specific_prefix_wins_in_whatever_order_they_stand(self, uri: str, prefix: str | None):
        prefixes = [
            "s3://",
            "s3://team-*",
            "s3://team-?/",
            "s3://team-*-raw",
            "s3://team-*/private-of-all",
            "s3://team-a",
            "s3://team-a/private/",
            "s3://team-a/private/y",
            "gs://team-a/",
        ]
        for order in (prefixes, prefixes[::-1]):
            found = CredentialRules(MediaCacheConfig(credentials={one: {} for one in order})).of(parse(uri))
            assert (found.prefix if found else None) == prefix

    @pytest.mark.parametrize(
        ("uri", "prefixes"),
        [
            # The first of them wins, although its wildcard stands for nothing or the other has a longer key.
            ("s3://team/raw/x", ["s3://team", "s3://team*/raw/"]),
            ("s3://team/x", ["s3://*team", "s3://*team*"]),
            ("s3://team/x", ["s3://t*m", "s3://*t*m"]),
            # Brackets are no wildcards, and wildcards stand beside them.
            ("s3://a[b]c/x", ["s3://a[b]*", "s3://a*"]),
            ("s3://abc/x", ["s3://a*", "s3://a[b]*"]),
        ],
    )
    def test_one_of_two(self, uri: str, prefixes: list[str]):
        for order in (prefixes, prefixes[::-1]):
            found = CredentialRules(MediaCacheConfig(credentials={one: {} for one in order})).of(parse(uri))
            assert found is not None
            assert found.prefix == prefixes[0]

    def test_a_scheme_in_capitals_is_the_same(self):
        rules = CredentialRules(MediaCacheConfig(credentials={"S3://b": {}}))
        assert rules.of(parse("S3://b/x")) is rules.of(parse("s3://b/y")) is not None


class TestWhatItMeans:
    def test_keys_come_from_the_variables_that_are_named(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("TEAM_KEY", "the-key")
        monkeypatch.setenv("TEAM_SECRET", "the-secret")
        # given keys in the settings of the scheme, too, of which none may be mixed with these
        extra = {"s3": {"aws_session_token": "theirs", "verify": False, "anonymous": True}}
        access = aws_access(config_for("s3://b/x", KEYS, extra_client_kwargs=extra))
        assert access.keys is not None
        keys = access.keys.current()
        assert (keys.access_key, keys.secret_key, keys.token) == ("the-key", "the-secret", None)
        assert not access.tls.verify, "what the rule does not say comes from the scheme's settings"
        assert access.description == (
            "the credentials in the environment variable TEAM_KEY, by the prefix 's3://b/' of the setting "
            "credentials"
        )

    def test_a_token_comes_along(self, monkeypatch: pytest.MonkeyPatch):
        for name in ("KEY", "SECRET", "TOKEN"):
            monkeypatch.setenv(f"TEAM_{name}", f"the-{name.lower()}")
        access = aws_access(config_for("s3://b/x", {**KEYS, "session_token_variable": "TEAM_TOKEN"}))
        assert access.keys is not None
        assert access.keys.current().token == "the-token"

    def test_who_pays(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("MINIO_ENDPOINT_URL", "http://environment:1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        for words, everywhere, expected in (
            ({"requester_pays": True}, False, (True, True)),
            ({"requester_pays": False}, True, (False, False)),
            # The setting is for s3:// only.
            ({}, True, (True, False)),
        ):
            settings = {"requester_pays": everywhere}
            of_aws = aws_access(config_for("s3://b/x", words, "s3://b/", **settings))
            of_minio = minio_access(config_for("minio://b/x", words, "minio://b/", **settings))
            assert (of_aws.requester_pays, of_minio.requester_pays) == expected

    @pytest.mark.parametrize(
        ("scheme", "theirs", "words"),
        [
            ("s3", ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), {"profile": "x"}),
            ("s3", ("anonymous",), {"credentials_file": "x"}),
            ("az", ("account_key", "sas_token", "conn_str"), {"profile": "x"}),
            ("az", ("account_key", "sas_token", "conn_str"), {"anonymous": True}),
            ("gs", ("anonymous",), {"credentials_file": "x"}),
        ],
    )
    def test_no_key_of_the_scheme_stands_beside_those_of_a_rule(
        self, scheme: str, theirs: tuple[str, ...], words: dict[str, Any]
    ):
        for name in theirs:
            settings = {"extra_client_kwargs": {scheme: {name: "theirs", "verify": False}}}
            found = config_for(f"{scheme}://b/x", words, f"{scheme}://b/", **settings)
            assert "theirs" not in found.extra_client_kwargs[scheme].values()
            assert found.extra_client_kwargs[scheme]["verify"] is False

    def test_what_a_rule_does_not_say_of_its_client_and_of_others_stays(self):
        options = {"gs": {"client_options": {"quota_project_id": "p"}, "user_project": "p"}, "http": {"x": 1}}
        words = {"endpoint_url": "http://rule:1", "requester_pays": False}
        found = config_for("gs://b/x", words, "gs://b/", extra_client_kwargs=options).extra_client_kwargs
        assert found == {
            "gs": {"client_options": {"quota_project_id": "p", "api_endpoint": "http://rule:1"}},
            "http": {"x": 1},
        }
        assert options["gs"]["user_project"] == "p", "the settings themselves are as they were"

    def test_the_line_end_of_a_variable_is_none_of_its_key(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("TEAM_KEY", " the-key\n")
        monkeypatch.setenv("TEAM_SECRET", "the-secret")
        found = config_for("s3://b/x", KEYS).extra_client_kwargs["s3"]
        assert found["aws_access_key_id"] == "the-key"

    def test_a_variable_that_is_not_set_is_named(self):
        with pytest.raises(ConfigError) as raised:
            config_for("s3://b/x", KEYS)
        assert str(raised.value) == (
            "setting credentials, 's3://b/': access_key_variable names the environment variable TEAM_KEY, "
            "which is not set in this process; set it, for the workers too"
        )

    def test_the_scheme_then_the_environment_fill_in(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://environment:1")
        monkeypatch.setenv("AWS_REGION", "eu-environment-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        scheme = {"extra_client_kwargs": {"s3": {"region_name": "eu-scheme-1"}}}
        cases: list[tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = [
            ({}, {}, ("http://environment:1", "eu-environment-1")),
            ({}, scheme, ("http://environment:1", "eu-scheme-1")),
            ({"region": "eu-rule-1"}, scheme, ("http://environment:1", "eu-rule-1")),
            ({"endpoint_url": "http://rule:1/"}, scheme, ("http://rule:1", "eu-scheme-1")),
        ]
        for words, settings, expected in cases:
            access = aws_access(config_for("s3://b/x", words, **settings))
            assert (access.endpoint, access.region) == expected
            assert access.keys is not None
            assert access.keys.current().access_key == "environment"

    def test_a_profile_goes_before_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://environment:1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-environment-1")
        file = tmp_path / "aws.ini"
        sections = [
            f"[{section}]\naws_access_key_id={key}\naws_secret_access_key=s\n"
            f"region=eu-{key}-1\nendpoint_url=http://{key}:1\n"
            for section, key in (("default", "first"), ("profile team", "team"))
        ]
        file.write_text("".join(sections))
        for words, key in (
            ({"profile": "team"}, "team"),
            ({"credentials_file": str(file)}, "first"),
            ({"credentials_file": str(file), "profile": "team"}, "team"),
        ):
            access = aws_access(config_for("s3://b/x", words, aws_config_file=str(file), aws_profile="team"))
            assert access.keys is not None
            assert (access.keys.current().access_key, access.region, access.endpoint) == (
                key,
                f"eu-{key}-1",
                f"http://{key}:1",
            )

    def test_a_minio_profile_goes_before_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ):
        monkeypatch.setenv("MINIO_ACCESS_KEY", "environment")
        monkeypatch.setenv("MINIO_SECRET_ACCESS_KEY", "environment")
        monkeypatch.setenv("MINIO_ENDPOINT_URL", "http://environment:1")
        monkeypatch.setenv("MINIO_REGION", "environment")
        file = tmp_path / "minio.ini"
        file.write_text("[lab]\naccess_key=lab\nsecret_access_key=s\n[keyless]\nregion=r\n")
        for profile, key, region in (("lab", "lab", "environment"), ("keyless", None, "r")):
            words = {"profile": profile, "credentials_file": str(file)}
            access = minio_access(config_for("minio://b/x", words, "minio://b/"))
            assert (access.endpoint, access.region) == ("http://environment:1", region)
            assert (access.keys.current().access_key if access.keys else None) == key
            if access.keys:
                said = "the MinIO credentials in section [lab] of minio.ini, by the prefix 'minio://b/'"
                assert access.description.startswith(said)

    def test_anonymous_sends_nothing_and_searches_nothing(self, monkeypatch: pytest.MonkeyPatch):
        def search(*_: Any) -> None:
            raise AssertionError("the machine's credentials are looked for")

        monkeypatch.setattr("botocore.session.Session.get_credentials", search)
        access = aws_access(config_for("s3://b/x", {"anonymous": True}))
        assert access.keys is None
        assert access.description.startswith(
            "no credentials (anonymous asks for unsigned requests), by the prefix"
        )

    @pytest.mark.parametrize("words", [KEYS, {"anonymous": True}], ids=["keys", "anonymous"])
    @pytest.mark.parametrize("simple", [True, False])
    def test_no_server_of_a_cloud_is_asked_for_keys_that_are_not_wanted(
        self, words: dict[str, Any], simple: bool, monkeypatch: pytest.MonkeyPatch
    ):
        def search(*_: Any) -> None:
            raise AssertionError("the machine's credentials are looked for")

        monkeypatch.setenv("TEAM_KEY", "the-key")
        monkeypatch.setenv("TEAM_SECRET", "the-secret")
        monkeypatch.setattr("botocore.session.Session.get_credentials", search)
        if simple:
            # Then botocore, which takes long to import, is not needed for it.
            monkeypatch.setattr("forebay.sources.aws._from_session", search)
        else:
            monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
        access = aws_access(config_for("s3://b/x", words))
        assert (access.keys.current().access_key if access.keys else None) == (
            "the-key" if words is KEYS else None
        )

    def test_all_of_it_is_json_for_other_processes(self):
        credentials = {"s3://team-*": {"profile": "a", "requester_pays": True}}
        config = MediaCacheConfig(credentials=credentials)
        assert MediaCacheConfig(**json.loads(config.model_dump_json())) == config

    def test_what_is_null_is_not_said(self):
        words = {"profile": None, "anonymous": True, "endpoint_url": "http://lab:9000/"}
        config = MediaCacheConfig(credentials={"s3://a": words})
        assert config.credentials == {"s3://a": {"anonymous": True, "endpoint_url": "http://lab:9000"}}

    def test_in_the_environment(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_CREDENTIALS", '{"s3://a-*": {"profile": "a"}}')
        assert MediaCacheConfig().credentials == {"s3://a-*": {"profile": "a"}}


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("credentials", "reason"),
        [
            ({"s3://a-*": {"profil": "x"}}, "'s3://a-*' has 'profil'; did you mean 'profile'?"),
            (
                {"s3://a": {"secret_access_key": SECRET}},
                "did you mean 'secret_key_variable' or 'access_key_variable'?",
            ),
            ({"gs://a": {"region": "x"}}, "'gs://a' has 'region'; gs:// takes anonymous, credentials_file,"),
            ({"s3://a/b*/": {}}, "'s3://a/b*/': wildcards may stand in the bucket's name only"),
            ({"s3://a/b?/": {}}, "'s3://a/b?/': wildcards may stand in the bucket's name only"),
            ({"lab://a": {}}, "'lab://a' must begin with one of s3://, gs://, minio://"),
            ({"https://a/": {}}, "'https://a/' must begin with one of"),
            ({"a": {}}, "'a' must begin with one of"),
            ({"s3:///key": {}}, "'s3:///key' names a key but no bucket"),
            ({"s3://a": "team"}, "'s3://a' must be an object"),
            ({"s3://a": {"anonymous": "yes"}}, "'s3://a': anonymous must be true or false"),
            ({"s3://a": {"requester_pays": "me"}}, "'s3://a': requester_pays must be true or false"),
            ({"s3://a": {"endpoint_url": "lab:9000"}}, "'s3://a': endpoint_url must be http(s)://host:port"),
            ({"s3://a": {"profile": 3}}, "'s3://a': profile must be text"),
            ({"s3://a": {"credentials_file": '{"key": 1}'}}, "credentials_file must name a file or variable"),
            (
                {"s3://a": {"access_key_variable": "TEAM_KEY"}},
                "'s3://a': access_key_variable needs secret_key_variable, too",
            ),
            (
                {"s3://a": {"secret_key_variable": "TEAM_SECRET"}},
                "'s3://a': secret_key_variable needs access_key_variable, too",
            ),
            (
                {"s3://a": {"session_token_variable": "TEAM_TOKEN"}},
                "'s3://a': session_token_variable needs access_key_variable, too",
            ),
            ({"s3://a": {"profile": "x", "anonymous": True}}, "has both profile and anonymous"),
            ({"s3://a": {"profile": "x", **KEYS}}, "has both profile and access_key_variable"),
            (
                {"az://a": {"account_key_variable": "A", "sas_token_variable": "B"}},
                "has both account_key_variable and sas_token_variable",
            ),
            (
                {"az://a": {"connection_string_variable": "A", "sas_token_variable": "B"}},
                "has both sas_token_variable and connection_string_variable",
            ),
            (
                {"az://a": {"credentials_file": "x", "connection_string_variable": "B"}},
                "has both credentials_file and connection_string_variable",
            ),
            ({"s3://a": {"profile": "two\nlines"}}, "'s3://a': profile must be text, without line ends"),
            ([], "input should be a valid dictionary"),
        ],
    )
    def test_with_the_prefix_and_what_is_near(self, credentials: Any, reason: str):
        assert reason in refusal(credentials)

    @pytest.mark.parametrize("word", ["access_key_variable", "secret_key_variable", "session_token_variable"])
    @pytest.mark.parametrize("secret", [SECRET, "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"])
    def test_a_key_in_place_of_its_name_is_not_shown(self, word: str, secret: str):
        text = refusal({"s3://a": {word: secret}})
        assert "must be the name of an environment variable, in capitals, and not a key itself" in text
        assert secret not in text

    @pytest.mark.parametrize(
        "rule",
        [
            {"secret": SECRET},
            {"aws_secret_access_key": SECRET},
            {"endpoint_url": f"https://me:{SECRET}@host"},
            {"endpoint_url": f"https://host?sig={SECRET}"},
            {"credentials_file": f'{{"private_key": "{SECRET}"}}'},
            {"profile": [SECRET]},
            SECRET,
        ],
    )
    def test_secrets_in_the_wrong_place_are_masked(self, rule: Any):
        assert SECRET not in refusal({"s3://a": rule})
        assert SECRET not in str(mask("credentials", {"s3://a": rule}))

    @pytest.mark.parametrize("value", [SECRET, [SECRET]])
    def test_what_maps_nothing_is_not_shown(self, value: Any):
        assert SECRET not in refusal(value)
        assert mask("credentials", value) == "***"

    def test_of_several_lines_none_is_shown(self):
        assert mask("credentials", {"s3://a": {"profile": f"x\n{SECRET}"}}) == {"s3://a": {"profile": "***"}}

    def test_what_is_right_is_shown(self):
        credentials = {"s3://a": {**KEYS, "endpoint_url": "https://host:1"}}
        assert mask("credentials", credentials) == credentials
