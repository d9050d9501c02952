"""Settings: the environment beats the JSON file, which beats the defaults.

Every setting is a field of `MediaCacheConfig`. In the environment it is
``FIFTYONE_MEDIA_CACHE_<NAME>``, in the JSON file ``<name>``; the names that FiftyOne's users know are
unchanged. The file is ``~/.fiftyone/media_cache_config.json`` unless
``FIFTYONE_MEDIA_CACHE_CONFIG_PATH`` says otherwise. An argument beats them all. A variable that is
empty counts as not set.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from forebay.config.sizes import parse_size
from forebay.errors import ConfigError

ENV_PREFIX = "FIFTYONE_MEDIA_CACHE_"
CONFIG_PATH_VARIABLE = ENV_PREFIX + "CONFIG_PATH"
DEFAULT_CONFIG_PATH = "~/.fiftyone/media_cache_config.json"

# Where FiftyOne's name for the variable is not the name of the field.
_ENV_NAMES = {
    "cache_dir": ENV_PREFIX + "DIR",
    "cache_size_bytes": ENV_PREFIX + "SIZE_BYTES",
    "cache_app_images": ENV_PREFIX + "APP_IMAGES",
}


def env_name(field: str) -> str:
    """The environment variable that sets ``field``."""
    return _ENV_NAMES.get(field, ENV_PREFIX + field.upper())


class MediaCacheConfig(BaseSettings):
    """All settings of one cache.

    Raises:
        ConfigError: a value is not allowed, or a key or variable is unknown. The message names the
            file, variable or argument, the value, and what is allowed.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, validate_default=True)

    cache_dir: str = Field(
        default="~/fiftyone/__cache__", description="The volume: the directory that holds the cached media."
    )
    cache_size_bytes: int = Field(
        default=137438953472,
        ge=-1,
        description="The most that media may take, partial files included, in bytes; -1 means no limit.",
    )
    num_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=1024,
        description="Download threads of one process.",
    )
    cache_app_images: bool = Field(
        default=False, description="Whether looking at images in the App caches them."
    )
    app_signed_urls: bool = Field(
        default=False,
        description="Whether the App's browser gets signed URLs instead of streams; the buckets need CORS.",
    )
    download_size_bytes: int = Field(
        default=134217728, ge=1, description="The size of one batch of a download context, in bytes."
    )
    aws_config_file: str | None = Field(default=None, description="An AWS config or credentials file.")
    aws_profile: str | None = Field(default=None, description="The AWS profile to use.")
    google_application_credentials: str | None = Field(
        default=None, description="A Google service account or application default credentials file."
    )
    azure_credentials_file: str | None = Field(default=None, description="Reserved for Azure; not used yet.")
    azure_profile: str | None = Field(default=None, description="Reserved for Azure; not used yet.")
    minio_config_file: str | None = Field(
        default=None,
        description="A MinIO server's INI file: access_key, secret_access_key, endpoint_url, region, alias.",
    )
    minio_profile: str | None = Field(
        default=None, description="The section of the MinIO file; 'default' by default."
    )
    extra_client_kwargs: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Further arguments for the clients, by scheme: {'s3': {...}, 'gs': {...}, ...}.",
    )
    redis_url: str | None = Field(
        default=None,
        description="The Redis of the index; without it, an embedded Valkey inside the cache directory.",
    )
    broker_url: str | None = Field(
        default=None, description="Celery's broker; by default the index's Redis, one database further."
    )
    volume: str = Field(
        default="default",
        description="The volume's name, and its queue's.",
    )
    dispatch: Literal["auto", "local", "fleet"] = Field(
        default="auto",
        description="Who downloads: this process's threads, the Celery fleet, or whichever there is.",
    )
    batch_size: int | Literal["auto"] = Field(
        default="auto", description="Samples in one Celery message; 1 sends one task per sample."
    )
    grace_seconds: float = Field(
        default=2.0, ge=0, le=3600, description="How long an entry is safe from eviction after its last use."
    )
    claim_ttl_seconds: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="How long the claims of a process outlive its last sign of life.",
    )
    min_free_bytes: int = Field(
        default=268435456,
        ge=0,
        description="Free disk space that a download must leave, or is refused, in bytes.",
    )
    allowed_sources: list[str] = Field(
        default=["s3://", "gs://", "minio://", "https://", "http://"],
        description="URI prefixes that may be fetched; private addresses only where one names their host.",
    )
    max_attempts: int = Field(
        default=5, ge=1, le=100, description="Attempts at one object before it counts as failed."
    )
    connect_timeout_seconds: float = Field(
        default=10.0, gt=0, le=600, description="Time-out of a connection attempt."
    )
    read_timeout_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="Time-out between two packets."
    )
    range_size_bytes: int = Field(
        default=8388608,
        ge=1048576,
        description="Objects of at least twice this size are fetched in parallel ranges.",
    )
    range_workers: int = Field(default=8, ge=1, le=64, description="Parallel ranges of one large object.")
    verify_checksums: bool = Field(
        default=False, description="Whether to check a download against the checksum that its source gives."
    )
    job_ttl_seconds: float = Field(
        default=604800.0, ge=60, description="How long an ended job is remembered."
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="The port at which each worker serves metrics for Prometheus; without it, none does.",
    )
    metrics_host: str = Field(
        default="127.0.0.1", min_length=1, description="The address at which it does; 0.0.0.0 is everywhere."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How logs are written: lines for people, or a JSON object on each line."
    )
    worker_timeout_seconds: float = Field(
        default=60.0, ge=1, description="How long a job waits for a fleet whose workers are all gone."
    )
    flower_basic_auth: str | None = Field(
        default=None, description="Who may use Flower: user:password, or several of them, with commas."
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **arguments: Any) -> None:
        path = config_path()
        origins = dict.fromkeys(_read_json(path), str(path))
        origins.update((name, env_name(name)) for name in _read_environment())
        origins.update(dict.fromkeys(arguments, "argument"))
        try:
            super().__init__(**arguments)
        except ValidationError as error:
            raise ConfigError(_explain(error, origins)) from None
        self._origins = origins

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The library's own sources overlook a variable that is misspelt, and do not say which variable
        # has a bad value.
        environment = InitSettingsSource(settings_cls, _read_environment())
        return init_settings, environment, InitSettingsSource(settings_cls, _read_json(config_path()))

    @field_validator("cache_dir")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.strip() or "\0" in value:
            raise ValueError("must be the path of a directory")
        return os.path.abspath(os.path.expanduser(value))

    @field_validator("volume")
    @classmethod
    def _one_volume(cls, value: str) -> str:
        if value == "all":
            raise ValueError("'all' stands for every volume; give this one another name")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
            raise ValueError(
                "must begin with a letter or digit, and have at most 63 letters, digits, dots, underscores "
                "and hyphens"
            )
        return value

    @field_validator("batch_size")
    @classmethod
    def _positive_batch(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 1000:
            raise ValueError("must be 'auto' or a number from 1 to 1000")
        return value

    @field_validator("extra_client_kwargs", mode="before")
    @classmethod
    def _by_client(cls, value: Any) -> dict[str, dict[str, Any]]:
        clients = ("s3", "gs", "gcs", "minio", "http")
        if (
            not isinstance(value, dict)
            or not all(client in clients for client in value)
            or not all(isinstance(arguments, dict) for arguments in value.values())
        ):
            raise ValueError(f"must map {', '.join(clients[:-1])} or {clients[-1]} to an object of arguments")
        return {"gs" if client == "gcs" else client: arguments for client, arguments in value.items()}

    @field_validator("redis_url", "broker_url")
    @classmethod
    def _redis_url(cls, value: str | None) -> str | None:
        schemes = ("redis://", "rediss://", "unix://", "redis+socket://")
        if value is not None:
            if not value.startswith(schemes):
                raise ValueError(f"must be a Redis URL ({', '.join(schemes)})")
            try:
                _database(value)
            except ValueError:  # its text may repeat the password
                raise ValueError("its host or port cannot be read") from None
            if value.startswith(("redis://", "rediss://")) and not re.fullmatch(
                "/?[0-9]*", urlsplit(value).path
            ):
                raise ValueError("its database must be a number, as in redis://host:6379/0")
        return value

    @field_validator("flower_basic_auth")
    @classmethod
    def _logins(cls, value: str | None) -> str | None:
        if value is not None and not all(re.fullmatch("[^:]+:.+", login) for login in value.split(",")):
            raise ValueError("must be user:password")
        return value

    @field_validator("allowed_sources")
    @classmethod
    def _prefixes(cls, value: list[str]) -> list[str]:
        for prefix in value:
            if not re.match(r"[A-Za-z0-9+.-]+://", prefix):
                raise ValueError(f"{prefix!r} is not a URI prefix such as s3://bucket/ or https://host/")
        return value

    @model_validator(mode="after")
    def _separate_broker(self) -> MediaCacheConfig:
        if self.redis_url and self.broker_url and _database(self.redis_url) == _database(self.broker_url):
            raise ValueError(
                "broker_url must differ from redis_url in its database number: "
                "the queue and the index share none"
            )
        return self

    @property
    def limit(self) -> int | None:
        """The cache's size limit in bytes, or ``None`` for no limit."""
        return None if self.cache_size_bytes < 0 else self.cache_size_bytes

    def origins(self) -> dict[str, str]:
        """Where each setting's value came from: a variable, the file, ``argument`` or ``default``."""
        return {name: self._origins.get(name, "default") for name in type(self).model_fields}

    def masked(self) -> dict[str, Any]:
        """Every setting with its secrets replaced by ``***``."""
        return {name: _mask(name, value) for name, value in self.model_dump().items()}


def config_path() -> Path:
    """The JSON file that settings are read from; it need not exist."""
    return Path(os.environ.get(CONFIG_PATH_VARIABLE) or DEFAULT_CONFIG_PATH).expanduser()


def mask_url(url: str) -> str:
    """``url`` without its password, however broken it may be."""
    url = re.sub(r"(^|//)([^:/@]*):(?!//).*@", r"\1\2:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&]\w*password=)[^&#]*", r"\1***", url)


def _read_environment() -> dict[str, Any]:
    """The settings in ``FIFTYONE_MEDIA_CACHE_*``; a variable of that prefix that is none is refused."""
    known = {env_name(name): name for name in MediaCacheConfig.model_fields}
    values: dict[str, Any] = {}
    for variable, text in sorted(os.environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable == CONFIG_PATH_VARIABLE:
            continue
        if variable not in known:
            raise ConfigError(_unknown(f"environment variable {variable}", known))
        if text.strip():
            values[known[variable]] = _decode(variable, known[variable], text.strip())
    return values


def _decode(variable: str, name: str, text: str) -> Any:
    """Lists and objects are JSON in the environment; a list may also be separated by commas."""
    default = MediaCacheConfig.model_fields[name].get_default(call_default_factory=True, validated_data={})
    if isinstance(default, list | dict) and text[0] in "[{":
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"environment variable {variable} is not valid JSON: {error}") from None
    if isinstance(default, list):
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if os.environ.get(CONFIG_PATH_VARIABLE):
            raise ConfigError(f"{CONFIG_PATH_VARIABLE} names {path}, which does not exist") from None
        return {}
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; mend its permissions or move it away"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a JSON object of settings, not a {type(values).__name__}")
    unknown = sorted(values.keys() - MediaCacheConfig.model_fields.keys())
    if unknown:
        raise ConfigError(_unknown(f"{path}: {unknown[0]!r}", MediaCacheConfig.model_fields))
    return values


def _database(url: str) -> tuple[str | None, int, str] | str:
    """What tells one database of a Redis server from another; a URL of a socket stands for itself."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        return url
    return parts.hostname, parts.port or 6379, parts.path.strip("/") or "0"


def _unknown(what: str, known: Iterable[str]) -> str:
    return f"{what} is not a setting; known are {', '.join(sorted(known))}"


def _explain(error: ValidationError, origins: dict[str, str]) -> str:
    problems = error.errors()
    if not problems[0]["loc"]:  # two settings that do not go together
        return re.sub(r"^Value error, ", "", problems[0]["msg"])
    name = str(problems[0]["loc"][0])
    if problems[0]["type"] == "extra_forbidden":
        return _unknown(repr(name), MediaCacheConfig.model_fields)
    # A value that fits none of several types has a problem with each.
    texts = [re.sub(r"^Value error, ", "", p["msg"]) for p in problems if p["loc"][0] == name]
    allowed = ", or ".join(text[0].lower() + text[1:] for text in texts) + _in_bytes(
        name, problems[0]["input"]
    )
    origin = origins[name]
    if origin == "argument":
        where = f"setting {name}"
    elif origin == env_name(name):
        where = f"environment variable {origin}"
    else:
        where = f"{origin}: {name}"
    return f"{where}={_mask(name, problems[0]['input'])!r} is not allowed: {allowed}"


def _in_bytes(name: str, value: Any) -> str:
    """What to write for a size that was given as ``50GB``; empty where it was not."""
    if not name.endswith("_bytes") or not isinstance(value, str):
        return ""
    try:
        return f"; {value} are {parse_size(value)}"
    except ConfigError:
        return ""


_SECRET = re.compile(r"secret|passw|token|key|auth|cookie|credential|signature", re.I)


def _mask(name: str, value: Any) -> Any:
    if name == "flower_basic_auth":
        return None if value is None else "***"
    if name == "extra_client_kwargs":
        # What should be an object but is none may be a secret.
        if not isinstance(value, dict):
            return "***"
        return {
            client: _mask_deep(arguments) if isinstance(arguments, dict) else "***"
            for client, arguments in value.items()
        }
    return mask_url(value) if isinstance(value, str) else value


def _mask_deep(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "***" if _SECRET.search(str(k)) else _mask_deep(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_mask_deep(item) for item in value]
    return mask_url(value) if isinstance(value, str) else value
