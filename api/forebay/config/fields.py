"""The settings: name, type, default, bounds and meaning of each."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

from forebay.config import credential_table, freshness, rules
from forebay.config.alias_settings import register_aliases
from forebay.config.combinations import check_combinations
from forebay.config.declaring import Settings, setting
from forebay.config.explaining import mask, refused
from forebay.config.kinds import (
    BOOLEAN,
    BYTES,
    INTEGER,
    NUMBER,
    OBJECT,
    SECONDS,
    TEXT,
    TEXTS,
    NotAllowedError,
    bounded,
    checked,
    choice,
    either,
    optional,
)
from forebay.config.quota_setting import QUOTA
from forebay.config.reading import config_path, env_name, read_environment, read_file, unknown
from forebay.config.request_limits import request_limits
from forebay.config.timetable import BANDWIDTH
from forebay.errors import ConfigError
from forebay.uri import shown
from forebay.uri.local_roots import register_roots


def _cpus() -> int:
    # Imported here, as it is asked for where the setting is not given.
    from forebay.capacity import cpus

    return cpus()


class MediaCacheConfig(Settings):
    """All settings of one cache.

    Args:
        arguments: settings by name; they go before the environment and the configuration file.

    Raises:
        ConfigError: a value is not allowed, or a key or variable is unknown. The message names the
            file, variable or argument, the value, and what is allowed.
    """

    cache_dir: str = setting(
        checked(TEXT, rules.absolute),
        "~/fiftyone/__cache__",
        "The volume: the directory that holds the cached media.",
    )
    cache_size_bytes: int = setting(
        bounded(BYTES, at_least=-1),
        137438953472,
        "The maximum size of all media, partial files included; -1 means no limit.",
    )
    num_workers: int = setting(
        bounded(INTEGER, at_least=1, at_most=1024),
        _cpus,
        "Threads of one process that move bytes, and messages that a worker has at a time.",
    )
    local_processes: int | Literal["auto"] = setting(
        either(bounded(INTEGER, at_least=1, at_most=64), choice("auto")),
        "auto",
        "Processes that download a large job of this machine's own, this one included.",
    )
    cache_app_images: bool = setting(BOOLEAN, False, "Whether looking at images in the App caches them.")
    app_signed_urls: bool = setting(
        BOOLEAN,
        False,
        "Whether the App's browser gets signed URLs instead of streams; the buckets need CORS.",
    )
    download_size_bytes: int = setting(
        bounded(BYTES, at_least=1), 134217728, "The size of one batch of a download context."
    )
    aws_config_file: str | None = setting(optional(TEXT), None, "An AWS config or credentials file.")
    aws_profile: str | None = setting(optional(TEXT), None, "The AWS profile to use.")
    google_application_credentials: str | None = setting(
        optional(TEXT), None, "A Google service account or application default credentials file."
    )
    azure_credentials_file: str | None = setting(
        optional(TEXT),
        None,
        "An INI file with Azure credentials: account_name, account_key, conn_str, sas_token and others.",
    )
    azure_profile: str | None = setting(
        optional(TEXT), None, "The section of the Azure file; 'default' by default."
    )
    minio_config_file: str | None = setting(
        optional(TEXT),
        None,
        "A MinIO server's INI file: access_key, secret_access_key, endpoint_url, region, alias.",
    )
    minio_profile: str | None = setting(
        optional(TEXT), None, "The section of the MinIO file; 'default' by default."
    )
    extra_client_kwargs: dict[str, dict[str, Any]] = setting(
        checked(OBJECT, rules.by_client),
        dict,
        "Further arguments for the clients, by scheme: {'s3': {...}, 'gs': {...}, ...}.",
    )
    credentials: dict[str, dict[str, Any]] = setting(
        checked(OBJECT, credential_table.by_prefix),
        dict,
        "Credentials by URI prefix: {'s3://team-a-*': {'profile': 'team-a'}, 'minio://lab/': {...}, ...}.",
    )
    requester_pays: bool = setting(
        BOOLEAN, False, "Whether requests to s3:// say that their sender pays for them."
    )
    redis_url: str | None = setting(
        optional(checked(TEXT, rules.redis_url)),
        None,
        "The Redis of the index: one server, Sentinels or a cluster; without it, an embedded Valkey.",
    )
    broker_url: str | None = setting(
        optional(checked(TEXT, rules.broker_url)),
        None,
        "Celery's broker, one server or Sentinels; by default the index's Redis, one database further.",
    )
    volume: str = setting(checked(TEXT, rules.one_volume), "default", "The volume's name, and its queue's.")
    group: str | None = setting(
        optional(checked(TEXT, rules.one_name)),
        None,
        "The group: volumes of one Redis whose workers take objects from each other.",
    )
    group_address: str = setting(
        checked(TEXT, rules.address),
        "127.0.0.1",
        "The address, as HOST or HOST:PORT, at which a worker serves its group; by default at any free port.",
    )
    group_tls_cert: str | None = setting(
        optional(TEXT), None, "The certificate, in PEM, with which a worker serves its group over TLS."
    )
    group_tls_key: str | None = setting(
        optional(TEXT), None, "The key of that certificate, where it is in a file of its own."
    )
    group_tls_ca: str | None = setting(
        optional(TEXT), None, "What the others' certificates are checked against; by default their own file."
    )
    egress_price_per_gb: float | None = setting(
        optional(bounded(NUMBER, at_least=0)),
        None,
        "The price of a gigabyte (1e9 bytes) that leaves the cloud, to say what was saved; in any currency.",
    )
    dispatch: Literal["auto", "local", "fleet"] = setting(
        choice("auto", "local", "fleet"),
        "auto",
        "Who downloads: threads of this process, the fleet, or the fleet if a worker is alive.",
    )
    message_size: int | Literal["auto"] = setting(
        checked(either(INTEGER, choice("auto")), rules.samples_of_a_message),
        "auto",
        "Samples in one Celery message; 1 sends one task per sample.",
    )
    priority: Literal["high", "normal", "low"] = setting(
        choice("high", "normal", "low"),
        "normal",
        "The priority of new jobs: which of two that wait for the same workers comes first.",
    )
    quota: str | None = setting(
        optional(QUOTA),
        None,
        "How much of the volume the downloads of all jobs with a label may take: team-a=200GB.",
    )
    grace_seconds: float = setting(
        bounded(SECONDS, at_least=0, at_most=3600),
        2.0,
        "How long an entry is safe from eviction after its last use.",
    )
    claim_ttl_seconds: float = setting(
        bounded(SECONDS, at_least=1, at_most=3600),
        30.0,
        "Seconds after its last heartbeat until the claims of a process expire.",
    )
    min_free_bytes: int = setting(
        bounded(BYTES, at_least=0), 268435456, "Free disk space that a download must leave, or it is refused."
    )
    group_writable: bool = setting(
        BOOLEAN, False, "Whether the group may write to new directories for cached files."
    )
    allowed_sources: list[str] = setting(
        checked(TEXTS, rules.prefixes),
        lambda: ["s3://", "gs://", "minio://", "az://", "https://", "http://"],
        "URI prefixes that may be fetched; private addresses only where one names their host.",
    )
    max_attempts: int = setting(
        bounded(INTEGER, at_least=1, at_most=100), 5, "Attempts at one object before it counts as failed."
    )
    connect_timeout_seconds: float = setting(
        bounded(SECONDS, above=0, at_most=600), 10.0, "Time-out of a connection attempt."
    )
    read_timeout_seconds: float = setting(
        bounded(SECONDS, above=0, at_most=3600), 60.0, "Time-out between two packets."
    )
    min_rate_bytes: int = setting(
        bounded(BYTES, at_least=0),
        50,
        "Bytes a second that an answer must bring, over a minute; a slower one is given up.",
    )
    total_timeout_seconds: float = setting(
        bounded(SECONDS, above=0, at_most=604800), 21600.0, "Time-out of one request, from beginning to end."
    )
    max_requests: int = setting(
        bounded(INTEGER, at_least=1, at_most=65536),
        256,
        "Requests that one process has in flight at most; how many it uses is found out.",
    )
    max_buffered_bytes: int = setting(
        bounded(BYTES, at_least=1048576),
        268435456,
        "Memory for what has arrived and is not yet written, over all requests in flight.",
    )
    bwlimit: str | None = setting(
        optional(BANDWIDTH),
        None,
        "Bytes a second that one process downloads at most, as 10MB, or by the time: 08:00,10MB 19:00,off.",
    )
    volume_bwlimit: str | None = setting(
        optional(BANDWIDTH),
        None,
        "Bytes a second that all processes of the volume download together at most, as bwlimit.",
    )
    volume_request_limits: dict[str, float] = setting(
        checked(OBJECT, request_limits),
        dict,
        "Requests a second that all processes of the volume send to a host at most, as request_limits.",
    )
    request_limits: dict[str, float] = setting(
        checked(OBJECT, request_limits),
        dict,
        "Requests a second that one process sends to a host at most: {'*.example.com': 50, ...}.",
    )
    range_size_bytes: int = setting(
        bounded(BYTES, at_least=1048576),
        8388608,
        "Objects of at least twice this size are fetched in parallel ranges.",
    )
    range_workers: int = setting(
        bounded(INTEGER, at_least=1, at_most=64), 8, "Parallel ranges of one large object."
    )
    verify_checksums: bool = setting(
        BOOLEAN, False, "Whether to check a download against the checksum that its source gives."
    )
    upstream_dir: str | None = setting(
        optional(checked(TEXT, rules.full_path)),
        None,
        "A directory that is looked into before the cloud, and never written: a NAS, or another volume.",
    )
    local_roots: list[str] = setting(
        checked(TEXTS, rules.local_roots),
        list,
        "Directories, as /mnt/nas, whose files are cached when they are asked for by their paths.",
    )
    max_age: float | None = setting(
        optional(freshness.AGE),
        None,
        "After how long without a check a copy is compared with its source, as 7d; not set: never.",
    )
    max_ages: dict[str, float | None] = setting(
        checked(OBJECT, freshness.by_prefix),
        dict,
        "The same by URI prefix: {'s3://labels-*': '1h', 'https://host/': '7d', 's3://archive/': null}.",
    )
    job_ttl_seconds: float = setting(
        bounded(SECONDS, at_least=60), 604800.0, "How long an ended job is remembered."
    )
    metrics_port: int | None = setting(
        optional(bounded(INTEGER, at_least=0, at_most=65535)),
        None,
        "The port at which each worker serves metrics for Prometheus; not set: no metrics.",
    )
    metrics_host: str = setting(
        checked(TEXT, rules.not_empty),
        "127.0.0.1",
        "The address of the metrics port; 0.0.0.0 for every interface.",
    )
    log_format: Literal["text", "json"] = setting(
        choice("text", "json"),
        "text",
        "How logs are written: lines for people, or a JSON object on each line.",
    )
    worker_timeout_seconds: float = setting(
        bounded(SECONDS, at_least=1), 60.0, "How long a job waits for a fleet whose workers are all gone."
    )
    flower_basic_auth: str | None = setting(
        optional(checked(TEXT, rules.logins)),
        None,
        "Who may use Flower: user:password, or several of them, with commas.",
    )

    def __init__(self, **arguments: Any) -> None:
        path, known = config_path(), self.model_fields
        in_file, in_environment = read_file(path, known), read_environment(known)
        origins = dict.fromkeys(in_file, str(path))
        origins.update((name, env_name(name)) for name in in_environment)
        origins.update(dict.fromkeys(arguments, "argument"))
        given = in_file | in_environment | arguments
        values: dict[str, Any] = {"_origins": origins}
        for name, one in known.items():
            value = given[name] if name in given else one.default()
            try:
                values[name] = one.kind.convert(value)
            except NotAllowedError as error:
                raise refused(name, value, origins.get(name, "default"), error) from None
        for name in arguments:
            if name not in known:
                raise unknown(shown(name), name, known)
        self.__dict__.update(values)
        check_combinations(self)
        register_aliases(self)
        register_roots(self.local_roots)
        try:
            credential_table.check_schemes(self.credentials)
        except NotAllowedError as error:
            raise refused("credentials", self.credentials, origins["credentials"], error) from None
        try:
            freshness.check_schemes(self.max_ages)
        except NotAllowedError as error:
            raise refused("max_ages", self.max_ages, origins["max_ages"], error) from None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A process that was not forked has parsed no settings.
        register_aliases(self)
        register_roots(self.local_roots)

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={value!r}" for name, value in self.masked().items() if name in self._given()
        )
        return f"{type(self).__name__}({shown})"

    @property
    def limit(self) -> int | None:
        """The cache's size limit in bytes, or ``None`` for no limit."""
        return None if self.cache_size_bytes < 0 else self.cache_size_bytes

    def origins(self) -> dict[str, str]:
        """Where each setting's value came from: a variable, the file, ``argument`` or ``default``."""
        return {name: self._given().get(name, "default") for name in self.model_fields}

    def model_copy(self, *, update: dict[str, Any]) -> MediaCacheConfig:
        """A copy in which some settings have other values, which are not checked."""
        copy: MediaCacheConfig = object.__new__(type(self))
        copy.__dict__.update(self.__dict__ | update)
        return copy

    @property
    def rule(self) -> str:
        """The prefix that these settings were made for; empty where they are the user's own."""
        prefix: str = self.__dict__.get("_rule", "")
        return prefix

    @property
    def rule_words(self) -> frozenset[str]:
        """What the setting ``credentials`` says of that prefix, so that the environment is asked last."""
        words: frozenset[str] = self.__dict__.get("_rule_words", frozenset())
        return words

    def masked(self) -> dict[str, Any]:
        """Every setting with its secrets replaced by ``***``."""
        return {name: mask(name, value) for name, value in self.model_dump().items()}

    def _given(self) -> dict[str, str]:
        """The origins of the settings that were given."""
        origins: dict[str, str] = self.__dict__["_origins"]
        return origins


def learn_aliases() -> None:
    """Makes the aliases of the environment and of the configuration file known, for URIs that are parsed
    before there is a cache. What is wrong with a setting is said by what needs it."""
    with contextlib.suppress(ConfigError):
        MediaCacheConfig()


def settings_of(config: MediaCacheConfig | None) -> MediaCacheConfig:
    """The settings that a user gave, or those of the environment.

    Raises:
        ConfigError: they are none, or a setting is not allowed.
    """
    if not isinstance(config, MediaCacheConfig | None):
        raise ConfigError(
            f"expected a MediaCacheConfig, such as MediaCacheConfig(cache_dir='/data/cache'), and this is "
            f"{shown(config)}"
        )
    return MediaCacheConfig() if config is None else config
