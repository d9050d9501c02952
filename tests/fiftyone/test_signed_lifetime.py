"""For how long signed URLs are valid, by the variable that FiftyOne's users know."""

from __future__ import annotations

import pytest

from forebay.errors import ConfigError
from forebay.fiftyone.signed_lifetime import VARIABLE, signed_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 86_400), ("", 86_400), (" 2 ", 7_200), ("0.5", 1_800), ("168", 604_800), ("0.0003", 1)],
)
def test_it_is_in_hours(text: str | None, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if text is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, text)
    assert signed_seconds() == seconds


@pytest.mark.parametrize("text", ["a day", "0", "-1", "0.0001", "168.001", "nan", "inf", "1e999", "24h"])
def test_what_no_cloud_signs_for_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFTYONE_SIGNED_URL_EXPIRATION", text)
    with pytest.raises(ConfigError) as raised:
        signed_seconds()
    assert str(raised.value) == (
        f"environment variable FIFTYONE_SIGNED_URL_EXPIRATION={text!r} must be a number of hours, at most 168"
    )
    assert raised.value.setting == "FIFTYONE_SIGNED_URL_EXPIRATION"
