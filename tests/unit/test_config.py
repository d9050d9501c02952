"""Settings: where they come from, what is refused and with which words, and what is never shown."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from forebay import capacity
from forebay.config import MediaCacheConfig, config_path, env_name, mask_url
from forebay.errors import ConfigError

PREFIX = "FIFTYONE_MEDIA_CACHE_"
FIELDS = ", ".join(sorted(MediaCacheConfig.model_fields))
VARIABLES = ", ".join(sorted(map(env_name, MediaCacheConfig.model_fields)))
PASSWORD = "s3cr3t"


@pytest.fixture
def settings_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty file that ``FIFTYONE_MEDIA_CACHE_CONFIG_PATH`` names."""
    path = tmp_path / "settings.json"
    path.write_text("{}")
    monkeypatch.setenv(PREFIX + "CONFIG_PATH", str(path))
    return path


def message(**arguments: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        MediaCacheConfig(**arguments)
    assert raised.value.exit_status == 2
    return str(raised.value)


class TestPrecedence:
    def test_a_default_when_nothing_is_set(self) -> None:
        assert MediaCacheConfig().cache_size_bytes == 137438953472

    def test_an_argument_beats_the_environment_beats_the_file(
        self, monkeypatch: pytest.MonkeyPatch, settings_file: Path
    ) -> None:
        settings_file.write_text('{"num_workers": 3}')
        assert MediaCacheConfig().num_workers == 3
        monkeypatch.setenv(PREFIX + "NUM_WORKERS", "4")
        assert MediaCacheConfig().num_workers == 4
        assert MediaCacheConfig(num_workers=5).num_workers == 5

    def test_where_each_value_came_from(self, monkeypatch: pytest.MonkeyPatch, settings_file: Path) -> None:
        settings_file.write_text('{"cache_dir": "/data", "num_workers": 3, "volume": "v", "max_attempts": 5}')
        monkeypatch.setenv(PREFIX + "NUM_WORKERS", "4")
        monkeypatch.setenv(PREFIX + "VOLUME", "w")
        origins = MediaCacheConfig(volume="x", range_workers=8).origins()
        assert origins.pop("cache_dir") == str(settings_file)
        assert origins.pop("max_attempts") == str(settings_file), "set, if to its default"
        assert origins.pop("num_workers") == PREFIX + "NUM_WORKERS"
        assert origins.pop("volume") == "argument"
        assert origins.pop("range_workers") == "argument", "passed, if as its default"
        assert set(origins.values()) == {"default"}

    def test_every_setting_has_an_origin(self) -> None:
        assert list(MediaCacheConfig().origins()) == list(MediaCacheConfig.model_fields)

    def test_what_is_set_later_changes_no_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = MediaCacheConfig()
        monkeypatch.setenv(PREFIX + "NUM_WORKERS", "4")
        assert config.origins()["num_workers"] == "default"

    def test_a_copy_knows_them_as_well(self) -> None:
        config = MediaCacheConfig(volume="x")
        for other in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
            assert other == config
            assert other.origins() == config.origins()

    def test_an_empty_variable_counts_as_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(PREFIX + "REDIS_URL", "")
        monkeypatch.setenv(PREFIX + "CONFIG_PATH", "")
        config = MediaCacheConfig()
        assert (config.redis_url, config.origins()["redis_url"]) == (None, "default")


class TestNames:
    @pytest.mark.parametrize(
        ("variable", "text", "field", "value"),
        [
            ("FIFTYONE_MEDIA_CACHE_DIR", "/data", "cache_dir", "/data"),
            ("FIFTYONE_MEDIA_CACHE_SIZE_BYTES", "-1", "cache_size_bytes", -1),
            ("FIFTYONE_MEDIA_CACHE_NUM_WORKERS", "16", "num_workers", 16),
            ("FIFTYONE_MEDIA_CACHE_APP_IMAGES", "true", "cache_app_images", True),
            ("FIFTYONE_MEDIA_CACHE_DOWNLOAD_SIZE_BYTES", "1000", "download_size_bytes", 1000),
            ("FIFTYONE_MEDIA_CACHE_AWS_PROFILE", "me", "aws_profile", "me"),
            ("FIFTYONE_MEDIA_CACHE_MESSAGE_SIZE", "auto", "message_size", "auto"),
            ("FIFTYONE_MEDIA_CACHE_MESSAGE_SIZE", "8", "message_size", 8),
            (
                "FIFTYONE_MEDIA_CACHE_ALLOWED_SOURCES",
                "s3://a/, gs://b/",
                "allowed_sources",
                ["s3://a/", "gs://b/"],
            ),
            ("FIFTYONE_MEDIA_CACHE_ALLOWED_SOURCES", '["s3://a,b/"]', "allowed_sources", ["s3://a,b/"]),
            (
                "FIFTYONE_MEDIA_CACHE_EXTRA_CLIENT_KWARGS",
                '{"s3": {"verify": false}}',
                "extra_client_kwargs",
                {"s3": {"verify": False}},
            ),
        ],
    )
    def test_variables(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
    ) -> None:
        monkeypatch.setenv(variable, text)
        assert getattr(MediaCacheConfig(), field) == value
        assert MediaCacheConfig().origins()[field] == variable

    def test_fiftyones_own_file(self, settings_file: Path) -> None:
        values = {
            "cache_dir": "/path/for/media-cache",
            "cache_size_bytes": 137438953472,
            "num_workers": 16,
            "cache_app_images": False,
            "download_size_bytes": 134217728,
            "aws_config_file": "/path/to/aws",
            "aws_profile": "default",
            "google_application_credentials": "/path/to/gcp.json",
            "azure_credentials_file": "/path/to/azure",
            "azure_profile": "default",
            "minio_config_file": "/path/to/minio",
            "minio_profile": "default",
            "extra_client_kwargs": {"s3": {"region_name": "eu-west-1"}},
        }
        settings_file.write_text(json.dumps(values))
        assert MediaCacheConfig().model_dump(include=set(values)) == values

    def test_fiftyones_name_for_google_storage(self) -> None:
        assert MediaCacheConfig(extra_client_kwargs={"gcs": {"a": 1}}).extra_client_kwargs == {"gs": {"a": 1}}

    def test_fiftyones_defaults(self, clean_environment: Path) -> None:
        config = MediaCacheConfig()
        assert config.cache_dir == str(clean_environment / "fiftyone/__cache__")
        assert config.cache_size_bytes == 128 * 1024**3
        assert config.num_workers == capacity.cpus()
        assert config.cache_app_images is False
        assert config.download_size_bytes == 128 * 1024**2

    def test_workers_are_the_cpus_that_the_container_leaves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(capacity, "cpus", lambda: 97)
        assert MediaCacheConfig().num_workers == 97

    def test_every_setting_has_a_variable_of_its_own(self) -> None:
        variables = [env_name(field) for field in MediaCacheConfig.model_fields]
        assert len(set(variables)) == len(variables)
        assert PREFIX + "CONFIG_PATH" not in variables

    @pytest.mark.parametrize("field", MediaCacheConfig.model_fields)
    def test_every_setting_says_what_it_is_for(self, field: str) -> None:
        description = MediaCacheConfig.model_fields[field].description
        assert description
        assert description.endswith(".")


class TestValues:
    def test_a_relative_cache_directory_becomes_absolute(self, monkeypatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        assert MediaCacheConfig(cache_dir="cache/../media").cache_dir == str(tmp_path / "media")

    def test_no_limit(self) -> None:
        assert MediaCacheConfig(cache_size_bytes=-1).limit is None
        assert MediaCacheConfig(cache_size_bytes="-1").limit is None
        assert MediaCacheConfig(cache_size_bytes=7).limit == 7

    @pytest.mark.parametrize("field", [f for f in MediaCacheConfig.model_fields if f.endswith("_bytes")])
    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("50GB", 50 * 1024**3),
            ("1.5TiB", 1536 * 1024**3),
            ("128 mb", 128 * 1024**2),
            ("2000000", 2_000_000),
            (2_000_000, 2_000_000),
        ],
    )
    def test_a_size_with_its_unit_wherever_it_comes_from(
        self, monkeypatch: pytest.MonkeyPatch, settings_file: Path, field: str, text: str | int, size: int
    ) -> None:
        assert getattr(MediaCacheConfig(**{field: text}), field) == size
        settings_file.write_text(json.dumps({field: text}))
        assert getattr(MediaCacheConfig(), field) == size
        settings_file.write_text("{}")
        monkeypatch.setenv(env_name(field), str(text))
        assert getattr(MediaCacheConfig(), field) == size

    @pytest.mark.parametrize("field", [f for f in MediaCacheConfig.model_fields if f.endswith("_seconds")])
    @pytest.mark.parametrize(
        ("text", "seconds"), [("60s", 60.0), ("1m", 60.0), ("1.5 M", 90.0), ("75.5", 75.5)]
    )
    def test_a_duration_with_its_unit(self, field: str, text: str, seconds: float) -> None:
        assert getattr(MediaCacheConfig(**{field: text}), field) == seconds

    def test_no_duration_at_all(self) -> None:
        assert MediaCacheConfig(grace_seconds="0s").grace_seconds == 0

    def test_settings_do_not_change(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            MediaCacheConfig().volume = "other"


class TestMessages:
    def test_an_unknown_argument(self) -> None:
        assert message(cache_bytes=1) == f"'cache_bytes' is not a setting; known are {FIELDS}"

    def test_an_unknown_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(PREFIX + "BYTES", "1")
        assert message() == (
            f"environment variable FIFTYONE_MEDIA_CACHE_BYTES is not a setting; known are {VARIABLES}"
        )

    def test_an_unknown_key(self, settings_file: Path) -> None:
        settings_file.write_text('{"num_workers": 1, "workers": 1}')
        assert message() == f"{settings_file}: 'workers' is not a setting; known are {FIELDS}"

    @pytest.mark.parametrize(
        ("field", "value", "text"),
        [
            ("num_workers", "many", "input should be a valid integer, unable to parse string as an integer"),
            ("num_workers", "0", "input should be greater than or equal to 1"),
            ("cache_size_bytes", "-2", "input should be greater than or equal to -1"),
            (
                "cache_app_images",
                "perhaps",
                "input should be a valid boolean, unable to interpret input",
            ),
            ("dispatch", "cloud", "input should be 'auto', 'local' or 'fleet'"),
            (
                "message_size",
                "all",
                "input should be a valid integer, unable to parse string as an integer, "
                "or input should be 'auto'",
            ),
            ("message_size", "0", "must be 'auto' or a number from 1 to 1000"),
            (
                "volume",
                "a/b",
                "must begin with a letter or digit, and have at most 63 letters, digits, dots, underscores "
                "and hyphens",
            ),
            (
                "cache_size_bytes",
                "1.5XB",
                "input should be a valid integer, unable to parse string as an integer, "
                "or a size such as 50GB",
            ),
            (
                "cache_size_bytes",
                "1.5",
                "input should be a valid integer, unable to parse string as an integer, "
                "or a size such as 50GB",
            ),
            (
                "cache_size_bytes",
                "-1GB",
                "input should be a valid integer, unable to parse string as an integer, "
                "or a size such as 50GB",
            ),
            ("range_size_bytes", "512KB", "input should be greater than or equal to 1048576"),
            ("claim_ttl_seconds", "2h", "input should be less than or equal to 3600"),
            (
                "claim_ttl_seconds",
                "1 week",
                "input should be a valid number, unable to parse string as a number, "
                "or a duration such as 30m",
            ),
            (
                "redis_url",
                "host:6379",
                "must be a Redis URL (redis://, rediss://, unix://, redis+socket://, redis+sentinel://, "
                "rediss+sentinel://, sentinel://, redis+cluster://, rediss+cluster://)",
            ),
            ("redis_url", "redis://host:port", "its host or port cannot be read"),
            ("redis_url", "redis://a..b/0", "its host or port cannot be read"),
            ("redis_url", "redis+sentinel://a..b/m", "its host or port cannot be read"),
            ("egress_price_per_gb", "inf", "input should be a finite number"),
            (
                "allowed_sources",
                "bucket",
                "'bucket' is not a URI prefix such as s3://bucket/ or https://host/",
            ),
            ("cache_dir", "\0", "must be the path of a directory"),
        ],
    )
    def test_a_bad_value_wherever_it_comes_from(
        self, monkeypatch: pytest.MonkeyPatch, settings_file: Path, field: str, value: str, text: str
    ) -> None:
        given = [value] if field == "allowed_sources" else value
        end = f"={given!r} is not allowed: {text}"
        assert message(**{field: given}) == f"setting {field}{end}"
        settings_file.write_text(json.dumps({field: given}))
        assert message() == f"{settings_file}: {field}{end}"
        if "\0" not in value:
            monkeypatch.setenv(env_name(field), value)
            assert message() == f"environment variable {env_name(field)}{end}"

    @pytest.mark.parametrize("password", ["hunter2\u2100", "pa[hunter2", "hunter2]"])
    @pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster", "sentinel"])
    def test_a_password_that_breaks_a_url_is_not_repeated(self, scheme: str, password: str) -> None:
        for field in ("redis_url", "broker_url"):
            text = message(**{field: f"{scheme}://:{password}@127.0.0.1:1/m"})
            assert "hunter2" not in text
            assert text.startswith(f"setting {field}=")

    def test_two_bad_values_are_told_one_at_a_time(self) -> None:
        assert message(range_workers=0, num_workers=0) == (
            "setting num_workers=0 is not allowed: input should be greater than or equal to 1"
        )

    @pytest.mark.parametrize(
        "broker", ["redis://host", "redis://host:6379/0", "rediss://:pw@host/0", "redis://HOST/"]
    )
    def test_a_queue_in_the_indexs_database(self, broker: str) -> None:
        assert message(redis_url="redis://host/0", broker_url=broker) == (
            "broker_url must differ from redis_url in its database number: the queue and the index share none"
        )
        MediaCacheConfig(redis_url="redis://host/1", broker_url=broker)

    def test_bad_json_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(PREFIX + "EXTRA_CLIENT_KWARGS", "{'s3': {'aws_secret_access_key': 's3cr3t'}}")
        assert message() == (
            "environment variable FIFTYONE_MEDIA_CACHE_EXTRA_CLIENT_KWARGS is not valid JSON: "
            "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
        )

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b"", " is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
            (b'{"a": 1,', " is not valid JSON: Expecting property name enclosed in double quotes: line 1"),
            (
                b'{"volume": "\xff"}',
                " is not valid JSON: 'utf-8' codec can't decode byte 0xff in position 12",
            ),
            (b"[1]", " must hold a JSON object of settings, not a list"),
        ],
    )
    def test_a_bad_file(self, settings_file: Path, content: bytes, text: str) -> None:
        settings_file.write_bytes(content)
        assert message().startswith(f"{settings_file}{text}")

    def test_a_file_that_cannot_be_read(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv(PREFIX + "CONFIG_PATH", str(tmp_path))
        assert message() == (
            f"{tmp_path} cannot be read: Is a directory; fix its permissions or move it away"
        )

    def test_a_file_that_is_named_but_not_there(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "nowhere.json"
        monkeypatch.setenv(PREFIX + "CONFIG_PATH", str(path))
        assert message() == f"FIFTYONE_MEDIA_CACHE_CONFIG_PATH names {path}, which does not exist"


class TestConfigPath:
    def test_by_default(self, clean_environment: Path) -> None:
        assert config_path() == clean_environment / ".fiftyone/media_cache_config.json"
        MediaCacheConfig()  # it need not exist

    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch, clean_environment: Path) -> None:
        monkeypatch.setenv(PREFIX + "CONFIG_PATH", "~/mine.json")
        assert config_path() == clean_environment / "mine.json"

    def test_the_default_file_is_read(self, clean_environment: Path) -> None:
        path = clean_environment / ".fiftyone/media_cache_config.json"
        path.parent.mkdir()
        path.write_text('{"volume": "mine"}')
        assert MediaCacheConfig().volume == "mine"


class TestSecrets:
    def test_masked_settings(self) -> None:
        config = MediaCacheConfig(
            redis_url="redis://:s3cr3t@host:6379/0",
            broker_url="rediss://user:s3cr3t@host:6379/1",
            google_application_credentials="/path/to/gcp.json",
            extra_client_kwargs={
                "s3": {
                    "aws_secret_access_key": PASSWORD,
                    "config": {"proxies": {"https": "http://me:s3cr3t@proxy:3128"}, "retries": 3},
                },
                "http": {
                    "headers": {"Authorization": PASSWORD, "Accept": "image/*"},
                    "auth": ["me", PASSWORD],
                },
            },
        )
        masked = config.masked()
        assert PASSWORD not in str(masked)
        assert list(masked) == list(MediaCacheConfig.model_fields)
        assert masked["redis_url"] == "redis://:***@host:6379/0"
        assert masked["broker_url"] == "rediss://user:***@host:6379/1"
        assert masked["google_application_credentials"] == "/path/to/gcp.json"
        assert masked["extra_client_kwargs"] == {
            "s3": {
                "aws_secret_access_key": "***",
                "config": {"proxies": {"https": "http://me:***@proxy:3128"}, "retries": 3},
            },
            "http": {"headers": {"Authorization": "***", "Accept": "image/*"}, "auth": "***"},
        }

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("redis://host:6379/0", "redis://host:6379/0"),
            ("redis://user@host", "redis://user@host"),
            ("redis://:s3cr3t@host", "redis://:***@host"),
            ("redis://user:s3cr3t/@#?:@host:1/0", "redis://user:***@host:1/0"),
            ("redis://:s3cr3t\n@[::1/", "redis://:***@[::1/"),
            (":s3cr3t@host:6379", ":***@host:6379"),
            ("user:s3cr3t@host", "user:***@host"),
            ("unix:///run/r.sock?db=1&password=s3cr3t", "unix:///run/r.sock?db=1&password=***"),
        ],
    )
    def test_urls(self, url: str, expected: str) -> None:
        assert mask_url(url) == expected

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("redis_url", "http://user:s3cr3t@host"),
            ("redis_url", "redis://user:s3cr3t@host:port"),
            ("redis_url", "redis://user:s3cr3t@ho℀st"),
            ("redis_url", "user:s3cr3t@host:6379"),
            ("broker_url", "redis://:s3cr3t@[::1"),
            ("extra_client_kwargs", {"aws_secret_access_key": PASSWORD}),
            ("extra_client_kwargs", {"s3": PASSWORD}),
            ("extra_client_kwargs", {"s3": {"token": PASSWORD}, "http": 1}),
            ("extra_client_kwargs", PASSWORD),
        ],
        ids=str,
    )
    def test_an_error_shows_none(self, settings_file: Path, field: str, value: object) -> None:
        assert PASSWORD not in message(**{field: value})
        settings_file.write_text(json.dumps({field: value}))
        assert PASSWORD not in message()
