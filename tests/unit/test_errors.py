"""Errors carry data beside their text, also into another process."""

from __future__ import annotations

import pickle

import pytest

from forebay import errors
from forebay.errors import (
    CacheFullError,
    CvatResponseError,
    DownloadError,
    Failure,
    ForebayError,
    JobNotFoundError,
    LeaseNotFoundError,
    ObjectChangedError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    SourceError,
    TransientSourceError,
)
from forebay.metrics.catalogue import REASONS
from forebay.sources import failures
from forebay.uri import parse

FAILURE = Failure("s3://b/a.jpg", "no such object", 1)
ERRORS: list[tuple[ForebayError, dict[str, object]]] = [
    (CacheFullError("full", needed=10, limit=100, held=95), {"needed": 10, "limit": 100, "held": 95}),
    (CvatResponseError("refused", 400, "no"), {"status": 400, "detail": "no"}),
    (CacheFullError("full"), {"needed": None, "limit": None, "held": None}),
    (ObjectTooLargeError("large", size=9, limit=5), {"size": 9, "needed": 9, "limit": 5, "held": None}),
    (JobNotFoundError("unknown", job="1f"), {"job": "1f"}),
    (LeaseNotFoundError("unknown", lease="train"), {"lease": "train"}),
    (DownloadError("failed", job="1f", failed=7, failures=[FAILURE]), {"failed": 7, "failures": (FAILURE,)}),
    (DownloadError("failed", failures=[FAILURE]), {"job": "", "failed": 1}),
    (SourceError("s3://b/a", "refused"), {"uri": "s3://b/a", "reason": "refused", "status": None}),
    (ObjectNotFoundError("s3://b/a", "none"), {"kind": "not_found", "transient": False, "attempts": 1}),
    (failures.refusal(parse("s3://b/a"), 403), {"kind": "access_denied", "status": 403}),
    (TransientSourceError("s3://b/a", "slow", "throttled"), {"kind": "throttled", "transient": True}),
    (ObjectChangedError("s3://b/a", "changed"), {"kind": "changed"}),
]


@pytest.mark.parametrize(("error", "data"), ERRORS, ids=lambda value: type(value).__name__)
def test_data_and_text_survive_the_way_to_another_process(
    error: ForebayError, data: dict[str, object]
) -> None:
    if isinstance(error, SourceError):
        error.attempts = 3
        data = {**data, "attempts": 3}

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    for name, value in data.items():
        assert getattr(error, name) == value
        assert getattr(copy, name) == value


def test_every_error_with_more_than_a_text_is_in_that_test() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    with_more = {kind for kind in kinds if issubclass(kind, ForebayError) and "__init__" in vars(kind)}

    tested = {kind for error, _ in ERRORS for kind in type(error).__mro__}

    assert {kind.__name__ for kind in with_more - tested} == set()


def test_every_kind_is_one_that_failures_are_counted_by() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]

    kinds = {value.kind for value in classes if issubclass(value, ForebayError)}

    assert kinds <= REASONS.keys()
    assert {"not_found", "access_denied", "not_allowed", "bad_uri", "too_large", "cache_full"} <= kinds


@pytest.mark.parametrize("status", [304, 400, 403, 404, 412, 429, 500])
def test_an_answer_that_is_no_success_gives_its_status(status: int) -> None:
    assert failures.refusal(parse("s3://bucket/key"), status).status == status
