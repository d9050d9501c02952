"""The Celery application of a volume, and the broker that it uses."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from celery import Celery
from celery.app.utils import Settings
from celery.loaders.app import AppLoader
from kombu.entity import Queue

from forebay import embedded
from forebay.config import MediaCacheConfig, env_name
from forebay.config.redis_address import RedisAddress, kind_of, parse_address
from forebay.errors import ConfigError

KEY_PREFIX = "forebay-celery:"
# After SIGTERM tasks have so long to end cleanly, 20 s in all; the second part is Celery's own.
DRAIN_SECONDS = 15.0
SOFT_SHUTDOWN_SECONDS = 5.0
_VISIBILITY_SECONDS = 3600
_SENTINEL_SECONDS = 3.0
# What redis-py takes for false in a URL.
_FALSE = ("0", "f", "false", "n", "no")
# What Celery's command line also takes from the environment, beside CELERY_….
_COMMAND_LINE = frozenset(("APP", "BROKER_URL", "CONFIG_MODULE", "LOADER", "RESULT_BACKEND", "SKIP_CHECKS"))


class _OwnSettings(Settings):  # type: ignore[misc]
    """Celery's settings as they were given: CELERY_BROKER_URL and the like belong to other programs."""

    @property
    def broker_url(self) -> Any:
        return self.get("broker_url")

    @property
    def broker_read_url(self) -> Any:
        return self.broker_url

    @property
    def broker_write_url(self) -> Any:
        return self.broker_url

    @property
    def result_backend(self) -> Any:
        return self.get("result_backend")


class _OwnLoader(AppLoader):  # type: ignore[misc]
    """Reads no configuration module, such as CELERY_CONFIG_MODULE names one."""

    def read_configuration(self, env: str = "") -> dict[str, Any]:
        return {}


class _OwnCelery(Celery):  # type: ignore[misc]
    """An application that nothing in the environment sets up: neither CELERY_…, nor Django's settings.

    Attributes:
        forebay_broker: the URL of the broker, in the form of our own settings.
    """

    forebay_broker = ""

    def __init__(self, name: str, broker: str) -> None:
        super().__init__(
            name, broker=broker, backend="disabled://", loader=_OwnLoader, fixups=(), set_as_current=False
        )
        # Celery makes them itself, and reads the environment whenever it is asked. An assignment would be one
        # of a setting.
        object.__setattr__(self._conf, "__class__", _OwnSettings)


def forget_environment() -> None:
    """Removes what Celery reads from the environment of this process, where the process is ours alone.

    Celery reads some of it whatever application is used: its worker's options, for example.
    """
    for name in list(os.environ):
        if name.startswith("CELERY_") or name in _COMMAND_LINE:
            del os.environ[name]


def queue_name(config: MediaCacheConfig) -> str:
    """The volume's queue."""
    return f"forebay.{config.volume}"


def broker_url(config: MediaCacheConfig, index_url: str) -> str:
    """The broker, as a URL of our own settings: as configured, else the index's Redis, one database further.

    Raises:
        ConfigError: the index is in a cluster, where a queue cannot be, and no broker is configured.
    """
    if config.broker_url is not None:
        return _with_database(config.broker_url)
    if config.redis_url is None:
        return embedded.broker_url(index_url)
    if kind_of(config.redis_url) == "cluster":
        variable = env_name("broker_url")
        raise ConfigError(
            "the index is in a Redis Cluster, where Celery cannot keep its queue: name a Redis without "
            f"cluster mode, or one behind Sentinels, in {variable}, or use --dispatch local",
            setting="broker_url",
        )
    return _with_database(config.redis_url, further=1)


def _with_database(url: str, further: int = 0) -> str:
    """A Redis URL, as Celery writes it where it names a socket, for the database so many further."""
    if kind_of(url) != "server":
        return parse_address(url).further(further).url
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    named = query.pop("db", None) or query.pop("virtual_host", None)
    if parts.scheme in ("unix", "redis+socket"):
        query["virtual_host"] = str(int(named or 0) + further)
        return f"redis+socket://{parts.netloc}{parts.path}?{urlencode(query)}"
    database = int(named or parts.path.strip("/") or 0) + further
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", urlencode(query), ""))


def _for_celery(url: str) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    """What Celery is told of a broker: its URLs, options of the transport, and those of TLS, if any."""
    if urlsplit(url).scheme == "redis+socket":
        return url, {}, None
    address = parse_address(url)
    tls = _tls(address) if address.tls else None
    others = tuple((name, value) for name, value in address.options if not name.startswith("ssl_"))
    one = replace(address, kind="server", master="", sentinel_username=None, sentinel_password=None)
    urls = [replace(one, hosts=(host,), options=others).url for host in address.hosts]
    if address.kind == "server":
        return urls[0], {}, tls
    to_sentinels: dict[str, Any] = {
        "username": address.sentinel_username,
        "password": address.sentinel_password,
        "socket_timeout": _SENTINEL_SECONDS,
        "socket_connect_timeout": _SENTINEL_SECONDS,
        **({} if tls is None else {"ssl": True, **tls}),
    }
    options = {"master_name": address.master, "sentinel_kwargs": to_sentinels}
    return ";".join(re.sub("^rediss?", "sentinel", url) for url in urls), options, tls


def _tls(address: RedisAddress) -> dict[str, Any]:
    """The options of TLS. They are given in full, since Kombu checks no certificate where there are none."""
    given: dict[str, Any] = {name: value for name, value in address.options if name.startswith("ssl_")}
    if "ssl_check_hostname" in given:
        given["ssl_check_hostname"] = given["ssl_check_hostname"].lower() not in _FALSE
    return {"ssl_cert_reqs": "required"} | given


def celery_app(config: MediaCacheConfig, url: str) -> Celery:
    """The Celery application of a volume, for producers and workers alike.

    Args:
        url: the broker, from `broker_url`.
    """
    urls, of_transport, tls = _for_celery(url)
    app = _OwnCelery("forebay", urls)
    app.forebay_broker = url
    queue = queue_name(config)
    options = {
        "visibility_timeout": _VISIBILITY_SECONDS,
        "global_keyprefix": KEY_PREFIX,
        "socket_timeout": 30.0,
        "socket_connect_timeout": 5.0,
        "socket_keepalive": True,
        **of_transport,
    }
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options=options,
        broker_use_ssl=tls,
        # Three settings hold this value, each read by another part; the shortest of them takes effect.
        result_backend_transport_options={"visibility_timeout": _VISIBILITY_SECONDS},
        visibility_timeout=_VISIBILITY_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_queues=[Queue(queue)],  # type: ignore[no-untyped-call]
        task_default_queue=queue,
        task_send_sent_event=True,
        worker_send_task_events=True,
        worker_pool="threads",
        worker_concurrency=config.num_workers,
        worker_soft_shutdown_timeout=SOFT_SHUTDOWN_SECONDS,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_max_tasks_per_child=1000,
        timezone="UTC",
    )
    return app
