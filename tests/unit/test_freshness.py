"""How old a copy may be: the settings, the argument of a call, and the text in a job's record."""

from __future__ import annotations

import time
from typing import Any

import pytest

from forebay.config import MediaCacheConfig
from forebay.config.freshness import ALWAYS, NEVER, Freshness, of_settings, of_text, of_update
from forebay.errors import ConfigError
from forebay.uri import parse

DAY = 86400.0


def config(**settings: Any) -> MediaCacheConfig:
    return MediaCacheConfig(cache_dir="/nowhere", **settings)


def test_without_a_setting_nothing_is_checked() -> None:
    fresh = of_settings(config())
    assert (fresh.is_by_age, fresh.is_always, fresh.since("s3://b/a")) == (False, False, 0.0)


@pytest.mark.parametrize(
    ("uri", "age"),
    [
        ("s3://other/a", 7 * DAY),
        ("s3://labels/a", 3600.0),
        ("s3://labels/v1/a", 60.0),
        ("s3://labels/v1", 3600.0),
        ("s3://labels/v10/a", 3600.0),
        ("s3://labels-2/a", 7200.0),
        ("gs://archive/a", None),
        ("https://host/a", 1800.0),
        ("https://host:8443/a", 7 * DAY),
    ],
)
def test_the_most_specific_prefix_says_how_old_a_copy_may_be(uri: str, age: float | None) -> None:
    ages = {
        "s3://labels": "1h",
        "s3://labels-*": "2h",
        "s3://labels/v1/": 60,
        "gs://": None,
        "https://host/": "30m",
    }
    fresh = of_settings(config(max_age="7d", max_ages=ages))
    assert fresh.age(parse(uri)) == age
    assert fresh.since(uri) == pytest.approx(0.0 if age is None else time.time() - age, abs=5)


def test_an_argument_goes_before_the_settings() -> None:
    settings = config(max_age="7d", max_ages={"s3://b/": "1h"})
    assert of_update(True, settings) is ALWAYS
    assert of_update("2d", settings).since("s3://b/a") == pytest.approx(time.time() - 2 * DAY, abs=5)
    assert of_update(False, settings).since("s3://b/a") == pytest.approx(time.time() - 3600, abs=5)
    assert of_update(False, config()) is NEVER
    with pytest.raises(ConfigError, match="'often' is not a duration"):
        of_update("often", settings)


def test_what_a_record_of_a_job_says_is_read_as_it_was_written() -> None:
    fresh = Freshness(1000.5, 60.0, {"s3://b/": None, "s3://c/": 10.0})
    read = of_text(fresh.text())
    for uri, since in (("s3://a/x", 940.5), ("s3://b/x", 0.0), ("s3://c/x", 990.5)):
        assert fresh.since(uri) == read.since(uri) == since
    # An age beyond all times is none, and takes none of the others along.
    ages = Freshness(100.0, None, {"s3://old/": 1e19, "s3://new/": 1.0})
    assert of_text(ages.text()).since("s3://new/a") == 99.0
    assert of_text(ages.text()).since("s3://old/a") == 0.0
    assert of_text(ALWAYS.text()).is_always
    assert ALWAYS.since("s3://b/a") > time.time() * 1000
    assert of_text(NEVER.text()).since("s3://b/a") == 0.0


@pytest.mark.parametrize(
    "text", ["", "2", "[", "[1]", "[1, 2, 3]", '["x", null, {}]', "[1, -1, {}]", '{"a": 1}']
)
def test_what_no_job_has_written_checks_nothing(text: str) -> None:
    assert of_text(text).since("s3://b/a") == 0.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_age": "often"}, "setting max_age='often' is not allowed: input should be a valid number"),
        ({"max_age": 0}, "input should be greater than 0"),
        ({"max_ages": {"bucket": "7d"}}, "'bucket' is not a URI prefix such as s3://bucket/"),
        ({"max_ages": {"s3://b/": "often"}}, "expected a duration such as 7d, or null"),
        ({"max_ages": {"s3://b/": "inf"}}, "expected a duration such as 7d, or null"),
        ({"max_age": "inf"}, "a finite number"),
        ({"max_ages": {"s3://b/*": "7d"}}, "wildcards may stand in the bucket's name only"),
        ({"max_ages": {"s3:///key": "7d"}}, "'s3:///key' names a key but no bucket"),
        ({"max_ages": {"ftp://b/": "7d"}}, "'ftp://b/' must begin with one of"),
    ],
)
def test_a_setting_that_is_wrong_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**settings)
    assert words in str(caught.value)
