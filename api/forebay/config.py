"""Settings: the environment beats the JSON file, which beats the defaults.

Every setting is a field of `MediaCacheConfig`. In the environment it is
``FIFTYONE_MEDIA_CACHE_<NAME>``, in the JSON file ``<name>``; the names that FiftyOne's users know are
unchanged. The file is ``~/.fiftyone/media_cache_config.json`` unless
``FIFTYONE_MEDIA_CACHE_CONFIG_PATH`` says otherwise.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

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
        description="An INI file with access_key, secret_access_key, endpoint_url, region and alias of a MinIO server.",
    )
    minio_profile: str | None = Field(
        default=None, description="The section of the MinIO file; 'default' by default."
    )
    extra_client_kwargs: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Further arguments for the clients: {'s3': {...}, 'gs': {...}, 'minio': {...}, 'http': {...}}.",
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
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
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
        default=268435456, ge=0, description="Free disk space that downloads never go below, in bytes."
    )
    allowed_sources: list[str] = Field(
        default=["s3://", "gs://", "minio://", "https://", "http://"],
        description="URI prefixes that may be fetched. Private addresses only where a prefix names their host.",
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
        default=16777216,
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
    worker_timeout_seconds: float = Field(
        default=60.0, ge=1, description="How long a job waits for a fleet whose workers are all gone."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_explain(error, values)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls), _JsonFile(settings_cls)

    @field_validator("cache_dir")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.strip() or "\0" in value:
            raise ValueError("must be the path of a directory")
        return os.path.abspath(os.path.expanduser(value))

    @field_validator("batch_size")
    @classmethod
    def _positive_batch(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 1000:
            raise ValueError("must be 'auto' or a number from 1 to 1000")
        return value

    @field_validator("redis_url", "broker_url")
    @classmethod
    def _redis_url(cls, value: str | None) -> str | None:
        schemes = ("redis", "rediss", "unix", "redis+socket")
        if value is not None and urlsplit(value).scheme not in schemes:
            raise ValueError(f"must be a Redis URL ({', '.join(s + '://' for s in schemes)})")
        return value

    @field_validator("allowed_sources")
    @classmethod
    def _prefixes(cls, value: list[str]) -> list[str]:
        for prefix in value:
            if "://" not in prefix:
                raise ValueError(f"{prefix!r} is not a URI prefix such as s3://bucket/ or https://host/")
        return value

    @model_validator(mode="after")
    def _separate_broker(self) -> MediaCacheConfig:
        if self.redis_url is not None and self.redis_url == self.broker_url:
            raise ValueError(
                "broker_url must differ from redis_url in its database number: the queue and the index share none"
            )
        return self

    @property
    def limit(self) -> int | None:
        """The cache's size limit in bytes, or ``None`` for no limit."""
        return None if self.cache_size_bytes < 0 else self.cache_size_bytes

    def origins(self) -> dict[str, str]:
        """Where each setting's value came from: a variable, the file, ``argument`` or ``default``."""
        variables, path = _Environment(type(self))(), config_path()
        file_keys = _read_json(path)
        origins = {}
        for name, field in type(self).model_fields.items():
            if name in variables:
                origins[name] = env_name(name)
            elif name in file_keys:
                origins[name] = str(path)
            elif getattr(self, name) != field.get_default(call_default_factory=True):  # type: ignore[call-arg]
                origins[name] = "argument" if name != "cache_dir" else "default"
            else:
                origins[name] = "default"
        return origins

    def masked(self) -> dict[str, Any]:
        """Every setting with its secrets replaced by ``***``."""
        return {name: _mask(name, value) for name, value in self.model_dump().items()}


def config_path() -> Path:
    """The JSON file that settings are read from; it need not exist."""
    return Path(os.environ.get(CONFIG_PATH_VARIABLE) or DEFAULT_CONFIG_PATH).expanduser()


def mask_url(url: str) -> str:
    """``url`` without its password."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@", 1)))


class _Environment(EnvSettingsSource):
    """Reads ``FIFTYONE_MEDIA_CACHE_*``, and refuses a variable of that prefix that is no setting."""

    def __call__(self) -> dict[str, Any]:
        known = {env_name(name): name for name in self.settings_cls.model_fields}
        values: dict[str, Any] = {}
        for variable, text in sorted(os.environ.items()):
            if not variable.startswith(ENV_PREFIX) or variable == CONFIG_PATH_VARIABLE:
                continue
            if variable not in known:
                raise ConfigError(
                    f"environment variable {variable} is not a setting; known are {', '.join(sorted(known))}"
                )
            values[known[variable]] = _decode(variable, self.settings_cls.model_fields[known[variable]], text)
        return values


class _JsonFile(PydanticBaseSettingsSource):
    """Reads the JSON file."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # only __call__ is used

    def __call__(self) -> dict[str, Any]:
        path = config_path()
        values = _read_json(path)
        unknown = sorted(set(values) - set(self.settings_cls.model_fields))
        if unknown:
            raise ConfigError(
                f"{path}: {unknown[0]!r} is not a setting; known are {', '.join(sorted(self.settings_cls.model_fields))}"
            )
        return values


def _read_json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        if os.environ.get(CONFIG_PATH_VARIABLE):
            raise ConfigError(f"{CONFIG_PATH_VARIABLE} names {path}, which does not exist") from None
        return {}
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; mend its permissions or move it away"
        ) from None
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a JSON object of settings, not a {type(values).__name__}")
    return values


def _decode(variable: str, field: FieldInfo, text: str) -> Any:
    """Lists and objects are JSON in the environment; a list may also be separated by commas."""
    if str(field.annotation).startswith(("list", "dict")):
        if text.lstrip()[:1] in "[{" and text.strip():
            try:
                return json.loads(text)
            except ValueError as error:
                raise ConfigError(
                    f"environment variable {variable}={text!r} is not valid JSON: {error}"
                ) from None
        if str(field.annotation).startswith("list"):
            return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _explain(error: ValidationError, values: dict[str, Any]) -> str:
    problem = error.errors()[0]
    name = str(problem["loc"][0]) if problem["loc"] else ""
    message = re.sub(r"^Value error, ", "", problem["msg"])
    if problem["type"] == "extra_forbidden":
        return f"{name!r} is not a setting; known are {', '.join(sorted(MediaCacheConfig.model_fields))}"
    if not name:
        return message
    if name in values:
        where = f"setting {name}"
    elif env_name(name) in os.environ:
        where = f"environment variable {env_name(name)}"
    else:
        where = f"{config_path()}: {name}"
    return f"{where}={_mask(name, problem['input'])!r} is not allowed: {message[0].lower()}{message[1:]}"


def _mask(name: str, value: Any) -> Any:
    if isinstance(value, str) and name in ("redis_url", "broker_url"):
        return mask_url(value)
    if isinstance(value, dict):
        secret = re.compile(r"secret|password|token|key", re.I)
        return {k: "***" if secret.search(str(k)) else _mask("", v) for k, v in value.items()}
    return value
