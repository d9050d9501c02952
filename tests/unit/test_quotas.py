"""A quota as it is given, and which downloads are too many."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.config import MediaCacheConfig
from forebay.config.quota_setting import parsed
from forebay.errors import ConfigError


@pytest.mark.parametrize("value", ["team-a=200GB", " team-a = 200GB ", "A.b_c-1=1", "x=10KB"])
def test_a_label_and_a_size(value: str) -> None:
    quota = MediaCacheConfig(quota=value).quota

    assert quota == value.replace(" ", "")
    assert parsed(quota) is not None


def test_sizes_are_powers_of_1024() -> None:
    assert parsed("team-a=200GB") == ("team-a", 200 << 30)


@pytest.mark.parametrize(
    "value",
    ["", "team-a", "team-a=", "=1GB", "team a=1GB", "a|b=1GB", "team-a=0", "team-a=-1", "a=much", 5, {}],
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="expected a label and a size, as team-a=200GB") as raised:
        MediaCacheConfig(quota=value)
    assert raised.value.setting == "quota"


@pytest.mark.parametrize("text", ["", "team-a", "|=1GB"])
def test_what_a_record_should_not_have_is_no_quota(text: str) -> None:
    assert parsed(text) is None
