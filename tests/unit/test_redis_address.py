"""URLs of Redis servers, Sentinels and clusters: what they say, and what is told of them."""

from __future__ import annotations

import pytest

from forebay.config import MediaCacheConfig
from forebay.config.kinds import NotAllowedError
from forebay.config.redis_address import parse_address
from forebay.errors import ConfigError
from forebay.jobs.celery_app import broker_url, celery_app

SENTINELS = "redis+sentinel://user:p%40ss@one:26379,[::1]:26380/mymaster/2?sentinel_password=watch"


def test_what_a_url_of_sentinels_says() -> None:
    address = parse_address(SENTINELS)

    assert address.hosts == (("one", 26379), ("::1", 26380))
    assert (address.master, address.database, address.tls) == ("mymaster", 2, False)
    assert (address.username, address.password) == ("user", "p@ss")
    assert (address.sentinel_username, address.sentinel_password) == (None, "watch")
    assert parse_address(address.url) == address


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://user:p%40ss@one;sentinel://user:p%40ss@[::1]:26380/2?master_name=mymaster&sentinel_password=watch",
        "redis+sentinel://one,[::1]:26380/mymaster?db=2&username=user&password=p%40ss&sentinel_password=watch",
    ],
)
def test_other_ways_to_say_the_same(url: str) -> None:
    MediaCacheConfig(redis_url=url, broker_url=url.replace("/2?", "/3?").replace("db=2", "db=3"))
    assert parse_address(url) == parse_address(SENTINELS)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis+sentinel://one/0", "it must name the master that the Sentinels watch, as in redis"),
        ("sentinel://one;sentinel://two", "it must name the master that the Sentinels watch, as in redis"),
        ("redis+sentinel://one/m/x", "its database must be a number"),
        ("redis+sentinel://one:port/m/0", "its host or port cannot be read"),
        ("redis+sentinel://one,/m/0", "its host or port cannot be read"),
        ("redis+sentinel://one/m/0?nonsense=1", "unknown parameter 'nonsense' in its query"),
        ("redis+cluster://one/1", "a cluster has the database 0 only"),
        ("redis+cluster://one:99999", "its host or port cannot be read"),
        (
            "redis+cluster://one?sentinel_password=s3cr3t",
            "unknown parameter 'sentinel_password' in its query",
        ),
        ("redis://:s3cr3t@one/0?master_name=m", "unknown parameter 'master_name' in its query"),
    ],
)
def test_what_is_not_allowed(url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MediaCacheConfig(redis_url=url)

    assert reason in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        (
            "redis+sentinel://u:s3cr3t@a,b/m/0?sentinel_password=s3cr3t",
            "redis+sentinel://u:***@a,b/m/0?sentinel_password=***",
        ),
        ("sentinel://:s3cr3t@a;sentinel://:s3cr3t@b/0?master_name=m", "sentinel://:***@b/0?master_name=m"),
        ("rediss+cluster://:s3cr3t@a,b?ssl_password=s3cr3t", "rediss+cluster://:***@a,b?ssl_password=***"),
    ],
)
def test_secrets_are_masked(url: str, masked: str) -> None:
    config = MediaCacheConfig(redis_url=url)

    assert config.masked()["redis_url"] == masked
    assert "s3cr3t" not in repr(config)
    assert "s3cr3t" not in repr(parse_address(url))


def test_the_queue_must_not_share_the_indexs_database() -> None:
    with pytest.raises(ConfigError, match="must differ from redis_url in its database number"):
        MediaCacheConfig(
            redis_url="redis+sentinel://a,b/m/0", broker_url="sentinel://b;sentinel://a/0?master_name=m"
        )


def test_what_celery_is_told_of_sentinels() -> None:
    config = MediaCacheConfig(
        redis_url=SENTINELS.replace("redis+", "rediss+") + "&ssl_certfile=/me.crt&ssl_check_hostname=false"
    )

    conf = celery_app(config, broker_url(config, "")).conf

    assert conf.broker_url == "sentinel://user:p%40ss@one:26379/3;sentinel://user:p%40ss@[::1]:26380/3"
    tls = {"ssl_cert_reqs": "required", "ssl_certfile": "/me.crt", "ssl_check_hostname": False}
    assert conf.broker_use_ssl == tls
    assert conf.broker_transport_options["master_name"] == "mymaster"
    sentinels = conf.broker_transport_options["sentinel_kwargs"]
    assert {name: sentinels[name] for name in ("username", "password")} == {
        "username": None,
        "password": "watch",
    }
    assert {name: sentinels[name] for name in tls} == tls
    assert sentinels["ssl"] is True


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(NotAllowedError) as caught:
        parse_address("redis+sentinel://:s3cr3t@[::1/m/0")
    assert "s3cr3t" not in str(caught.value)
