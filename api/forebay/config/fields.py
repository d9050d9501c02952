"""The settings: name, type, default, bounds and meaning of each."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from forebay.config.explaining import explain, mask
from forebay.config.reading import config_path, env_name, read_environment, read_file
from forebay.config.sizes import in_bytes, in_seconds

Bytes = Annotated[int, BeforeValidator(in_bytes)]
"""A number of bytes, or text such as ``50GB``."""

Seconds = Annotated[float, BeforeValidator(in_seconds)]
"""A number of seconds, or text such as ``30m``."""


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
    cache_size_bytes: Bytes = Field(
        default=137438953472,
        ge=-1,
        description="The maximum size of all media, partial files included; -1 means no limit.",
    )
    num_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=1024,
        description="Threads of one process that move bytes, and messages that a worker has at a time.",
    )
    cache_app_images: bool = Field(
        default=False, description="Whether looking at images in the App caches them."
    )
    app_signed_urls: bool = Field(
        default=False,
        description="Whether the App's browser gets signed URLs instead of streams; the buckets need CORS.",
    )
    download_size_bytes: Bytes = Field(
        default=134217728, ge=1, description="The size of one batch of a download context."
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
        description="Who downloads: threads of this process, the fleet, or the fleet if a worker is alive.",
    )
    message_size: int | Literal["auto"] = Field(
        default="auto", description="Samples in one Celery message; 1 sends one task per sample."
    )
    grace_seconds: Seconds = Field(
        default=2.0, ge=0, le=3600, description="How long an entry is safe from eviction after its last use."
    )
    claim_ttl_seconds: Seconds = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="Seconds after its last heartbeat until the claims of a process expire.",
    )
    min_free_bytes: Bytes = Field(
        default=268435456,
        ge=0,
        description="Free disk space that a download must leave, or it is refused.",
    )
    allowed_sources: list[str] = Field(
        default=["s3://", "gs://", "minio://", "https://", "http://"],
        description="URI prefixes that may be fetched; private addresses only where one names their host.",
    )
    max_attempts: int = Field(
        default=5, ge=1, le=100, description="Attempts at one object before it counts as failed."
    )
    connect_timeout_seconds: Seconds = Field(
        default=10.0, gt=0, le=600, description="Time-out of a connection attempt."
    )
    read_timeout_seconds: Seconds = Field(
        default=60.0, gt=0, le=3600, description="Time-out between two packets."
    )
    min_rate_bytes: Bytes = Field(
        default=50,
        ge=0,
        description="Bytes a second that an answer must bring, over a minute; a slower one is given up.",
    )
    total_timeout_seconds: Seconds = Field(
        default=21600.0, gt=0, le=604800, description="Time-out of one request, from beginning to end."
    )
    max_requests: int = Field(
        default=256,
        ge=1,
        le=65536,
        description="Requests that one process has in flight at most; how many it uses is found out.",
    )
    max_buffered_bytes: Bytes = Field(
        default=268435456,
        ge=1048576,
        description="Memory for what has arrived and is not yet written, over all requests in flight.",
    )
    range_size_bytes: Bytes = Field(
        default=8388608,
        ge=1048576,
        description="Objects of at least twice this size are fetched in parallel ranges.",
    )
    range_workers: int = Field(default=8, ge=1, le=64, description="Parallel ranges of one large object.")
    verify_checksums: bool = Field(
        default=False, description="Whether to check a download against the checksum that its source gives."
    )
    job_ttl_seconds: Seconds = Field(
        default=604800.0, ge=60, description="How long an ended job is remembered."
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="The port at which each worker serves metrics for Prometheus; not set: no metrics.",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address of the metrics port; 0.0.0.0 for every interface.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How logs are written: lines for people, or a JSON object on each line."
    )
    worker_timeout_seconds: Seconds = Field(
        default=60.0, ge=1, description="How long a job waits for a fleet whose workers are all gone."
    )
    flower_basic_auth: str | None = Field(
        default=None, description="Who may use Flower: user:password, or several of them, with commas."
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **arguments: Any) -> None:
        path, known = config_path(), type(self).model_fields
        in_file, in_environment = read_file(path, known), read_environment(known)
        origins = dict.fromkeys(in_file, str(path))
        origins.update((name, env_name(name)) for name in in_environment)
        origins.update(dict.fromkeys(arguments, "argument"))
        try:
            super().__init__(**arguments)
        except ValidationError as error:
            raise explain(error, origins, in_file | in_environment | arguments, known) from None
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
        # The library's own sources ignore a misspelt variable, and do not tell which variable has a bad
        # value.
        known = settings_cls.model_fields
        environment = InitSettingsSource(settings_cls, read_environment(known))
        file = InitSettingsSource(settings_cls, read_file(config_path(), known))
        return init_settings, environment, file

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

    @field_validator("message_size")
    @classmethod
    def _positive_message_size(cls, value: int | str) -> int | str:
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
        return {name: mask(name, value) for name, value in self.model_dump().items()}


def _database(url: str) -> tuple[str | None, int, str] | str:
    """The identity of a Redis database: host, port and number, or the whole URL of a socket."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        return url
    return parts.hostname, parts.port or 6379, parts.path.strip("/") or "0"
