"""What people see of a job while it runs."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from forebay.jobs.progress import Pace, Progress, line
from forebay.jobs.status import JobStatus

STATUS = JobStatus(
    id="abc",
    state="running",
    dispatch="local",
    total=2000,
    cached=100,
    downloaded=500,
    failed=0,
    pending=1400,
    bytes=50 << 20,
    elapsed_seconds=3600.0,
    rate=1.0,
    samples_per_second=1.0,
    eta_seconds=1400.0,
    created=0.0,
    lease=None,
)


class TestPace:
    def test_nothing_is_said_of_the_rate_at_first(self) -> None:
        measured = Pace().measure(STATUS, 0.0)
        assert (measured.rate, measured.eta_seconds) == (0.0, None)

    def test_the_rate_is_that_of_the_last_seconds(self) -> None:
        pace = Pace()
        pace.measure(STATUS, 0.0)
        pace.measure(replace(STATUS, pending=1300, bytes=60 << 20), 100.0)

        measured = pace.measure(replace(STATUS, pending=1100, bytes=80 << 20), 110.0)

        assert measured.samples_per_second == pytest.approx(20.0)
        assert measured.rate == pytest.approx(2 << 20)
        assert measured.eta_seconds == pytest.approx(55.0)

    def test_a_job_that_stands_still_has_no_estimate(self) -> None:
        pace = Pace()
        pace.measure(STATUS, 0.0)
        assert pace.measure(STATUS, 5.0).eta_seconds is None


class TestLines:
    def test_a_line_has_all_that_there_is_to_know(self) -> None:
        status = replace(STATUS, failed=3, rate=float(5 << 20), eta_seconds=3725.0)
        assert line(status) == "job abc: 600/2,000 samples, 50.0MB, 5.0MB/s, 1:02:05 left, 3 failed"

    def test_they_come_more_and_more_rarely(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: now)
        stream = io.StringIO()
        with Progress(stream) as progress:
            for second in range(600):
                now = float(second)
                progress.show(replace(STATUS, pending=1400 - second))
        lines = stream.getvalue().splitlines()
        assert 10 <= len(lines) <= 20
        assert lines[0] == "job abc: 606/2,000 samples, 50.0MB, 0B/s, 23:14 left"

    def test_a_short_job_has_none(self) -> None:
        stream = io.StringIO()
        with Progress(stream) as progress:
            progress.show(STATUS)
        assert stream.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress(stream) as progress:
        progress.show(replace(STATUS, failed=3))
    shown = stream.getvalue()
    assert "600/2,000" in shown
    assert "50.0MB" in shown
    assert "3 failed" in shown
