"""Log lines: what they are about, how they are written, and what never is in them."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest

from forebay import logs
from forebay.logs import JsonFormatter, TextFormatter, clean
from forebay.threads import map_in_threads
from forebay.uri import parse


def record(message: str = "went wrong", name: str = "forebay.fetch", **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "", 0, message, None, None)
    made.__dict__.update(fields)
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    return dict(json.loads(JsonFormatter().format(made)))


def as_text(made: logging.LogRecord) -> str:
    """A line without its time."""
    return TextFormatter().format(made)[20:]


class TestAbout:
    def test_a_line_bears_the_job_that_is_worked_on(self) -> None:
        with logs.about("4f1e"):
            assert as_json(record())["job"] == "4f1e"
            assert as_text(record()) == "WARNING  [job 4f1e] went wrong"
        assert "job" not in as_json(record())
        assert as_text(record()) == "WARNING  went wrong"

    def test_and_the_sample(self) -> None:
        token = logs.sample.set(parse("s3://photos/a.jpg"))
        with logs.about("4f1e"):
            assert as_json(record())["sample"] == "s3://photos/a.jpg"
            assert as_text(record()) == "WARNING  [job 4f1e, sample s3://photos/a.jpg] went wrong"
        logs.sample.reset(token)

    def test_people_are_not_told_twice(self) -> None:
        made = record("s3://photos/a.jpg: no such object", sample="s3://photos/a.jpg")
        assert as_text(made) == "WARNING  s3://photos/a.jpg: no such object"
        assert as_json(made)["sample"] == "s3://photos/a.jpg"

    def test_threads_know_what_their_maker_works_on(self) -> None:
        seen: list[object] = []
        meet = threading.Barrier(3, timeout=30)

        def note(_: object = None) -> None:
            seen.append(logs.job.get())
            meet.wait()

        with logs.about("4f1e"):
            map_in_threads(note, [1, 2, 3], 3, "test")
        assert seen == ["4f1e"] * 3


class TestLines:
    def test_json(self) -> None:
        assert as_json(record(created=0.5, msecs=500.0)) == {
            "time": "1970-01-01T00:00:00.500Z",
            "level": "warning",
            "logger": "forebay.fetch",
            "message": "went wrong",
        }

    def test_other_packages_are_named(self) -> None:
        assert as_text(record(name="celery.worker")) == "WARNING  celery.worker: went wrong"

    @pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
    def test_an_exception_comes_with_its_trace_and_without_its_secret(
        self, formatter: logging.Formatter
    ) -> None:
        try:
            raise ValueError("https://h/a?sig=secret")
        except ValueError as error:
            text = formatter.format(record(exc_info=(ValueError, error, error.__traceback__)))
        assert "Traceback" in text
        assert "ValueError: https://h/a?…" in text


class TestSecrets:
    @pytest.mark.parametrize(
        ("text", "cleaned"),
        [
            ("redis://:pass@host:6379/0 is away", "redis://:***@host:6379/0 is away"),
            ("redis://:***@host:6379/0 is away", "redis://:***@host:6379/0 is away"),
            ("see https://user:pass@h/a/b.", "see https://***:***@h/a/b."),
            ("see https://token@h/a/b.", "see https://***@h/a/b."),
            ("redis://me:with:colons@h", "redis://***:***@h"),
            ("'https://h/a?X-Amz-Signature=s&b=c' failed", "'https://h/a?…' failed"),
            ("s3://photos/a@b.jpg", "s3://photos/a@b.jpg"),
            ("is it there? yes", "is it there? yes"),
            ("redis://h/0, really?", "redis://h/0, really?"),
        ],
    )
    def test_nothing_that_a_url_hides(self, text: str, cleaned: str) -> None:
        assert clean(text) == cleaned

    @pytest.mark.parametrize("package", ["botocore", "google", "urllib3", "azure", "azure.core", "msal"])
    def test_nothing_that_is_logged_of_requests(self, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("boto3", "botocore", "google", "s3transfer", "urllib3", "azure", "msal"):
            # As a program has it that wants to see everything; restored afterwards.
            monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
        logging.getLogger(package).manager._clear_cache()  # type: ignore[attr-defined]
        logs.quieten()
        assert not logging.getLogger(package).isEnabledFor(logging.DEBUG)
