"""How a worker ends: its line to the supervisor, and its handlers of signals, wait for nothing for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import signals

from forebay_worker import lifecycle, line
from forebay_worker.line import Line


class Connection:
    """A line whose first page is interrupted by `interrupt`, in the middle of sending it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.interrupt: Any = None

    def send_bytes(self, frame: bytes) -> None:
        if frame and self.interrupt is not None:
            interrupt, self.interrupt = self.interrupt, None
            interrupt()
        self.sent.append(frame)

    def poll(self, seconds: float) -> bool:
        threading.Event().wait()
        return False


def test_a_report_within_a_report_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a signal that comes while the main thread sends a report, and whose handler reports, too
    monkeypatch.setattr(line, "PATIENCE_SECONDS", 0.05)
    connection = Connection()
    supervised = Line(connection, told=True)  # type: ignore[arg-type]
    connection.interrupt = supervised.report

    # when the worker is ready
    main = threading.Thread(target=supervised.ready, args=(lambda: "page",), daemon=True)
    main.start()
    main.join(10)

    # then it does not wait for itself, and frames do not mix; the next report is sent again
    assert not main.is_alive()
    assert connection.sent == [b"", b"page"]
    supervised.report()
    assert connection.sent == [b"", b"page", b"page"]


class Presence:
    """Counts how often the worker signs off, which takes until `answered` is set."""

    def __init__(self) -> None:
        self.ends = 0
        self.answered = threading.Event()

    def end(self) -> None:
        self.ends += 1
        self.answered.wait(30)


@pytest.fixture
def presence(monkeypatch: pytest.MonkeyPatch) -> Iterator[Presence]:
    """The presence of a worker whose handlers alone are connected to Celery's signals."""
    for name in (
        "celeryd_init",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
        "worker_process_shutdown",
        "task_prerun",
        "task_postrun",
    ):
        monkeypatch.setattr(getattr(signals, name), "receivers", [])
    monkeypatch.setattr(lifecycle, "PATIENCE_SECONDS", 0.05)
    made = Presence()
    lifecycle.register(None, made)  # type: ignore[arg-type]
    yield made
    made.answered.set()
    lifecycle.stopping.clear()


def test_where_redis_is_away_signing_off_is_tried_once_and_not_for_long(presence: Presence) -> None:
    ending = threading.Thread(target=send_both, daemon=True)
    ending.start()
    ending.join(10)

    assert not ending.is_alive()
    assert presence.ends == 1
    assert lifecycle.stopping.is_set()


def test_what_a_last_task_has_announced_is_taken_back(presence: Presence) -> None:
    presence.answered.set()

    send_both()

    assert presence.ends == 2


def send_both() -> None:
    signals.worker_shutting_down.send(sender=None)
    signals.worker_shutdown.send(sender=None)
