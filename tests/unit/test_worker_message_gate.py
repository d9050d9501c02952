"""A worker takes messages as Forebay sends them, and sets every other one aside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from forebay_worker.message_gate import BadMessageError, check_stored, reread
from tests.messages import BAD_MESSAGES, message


def test_a_message_of_ours_stays_what_it_is() -> None:
    sent = message()

    read = json.loads(reread(json.dumps(sent).encode()))

    assert read["body"] == sent["body"]
    assert read["properties"]["delivery_tag"] == sent["properties"]["delivery_tag"]
    for header in ("id", "task", "retries", "argsrepr", "forebay_enqueued", "lang"):
        assert read["headers"][header] == sent["headers"][header]
    # and it may be written down, put back, and read again
    assert reread(json.dumps(read).encode()) == json.dumps(read).encode()
    check_stored(json.dumps([read, "", "forebay.default"]))


def test_only_what_is_known_goes_on() -> None:
    sent = message()
    sent["headers"] |= {"stamps": {"a": 1}, "replaced_task_nesting": "x", "argsrepr": {"a": 1}, "retries": -1}
    sent["headers"]["parent_id"] = {"a": 1}

    read = json.loads(reread(json.dumps(sent).encode()))["headers"]

    assert "stamps" not in read
    assert "replaced_task_nesting" not in read
    assert (read["argsrepr"], read["retries"], read["parent_id"]) == ("", 0, None)


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_what_is_no_message_of_ours_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(BadMessageError, match=r"^it"):
        reread(BAD_MESSAGES[name])


@pytest.mark.parametrize("stored", ["", "1", "[]", "[1, 2]", '[{}, "", "q"]', '["", "", ""]', "\x00"])
def test_what_cannot_be_put_back_is_refused(stored: Any) -> None:
    with pytest.raises(BadMessageError):
        check_stored(stored)
