"""What commands print on a terminal of 40 columns, as on half a screen or a telephone."""

from __future__ import annotations

import pytest

from forebay.cache import MediaCache
from tests.commands import COMMAND, Forebay
from tests.servers.seaweedfs import S3Server
from tests.servers.workers import worker
from tests.terminal import in_terminal, lines_of

pytestmark = pytest.mark.usefixtures("s3_environment")

WIDTH = 40


@pytest.fixture
def uris(s3_server: S3Server, s3_bucket: str) -> list[str]:
    return s3_server.put_many(s3_bucket, {f"images/of/a/camera/{n}.jpg": b"x" * 1000 for n in range(3)})


def shown(forebay: Forebay, *arguments: str, width: int = WIDTH) -> list[str]:
    return lines_of(in_terminal([COMMAND, *arguments], forebay.environment(), width))


def test_ls_puts_a_uri_that_does_not_fit_on_a_line_of_its_own(forebay: Forebay, uris: list[str]) -> None:
    forebay("prefetch", *uris, "--lease", "1h")

    lines = shown(forebay, "ls")

    assert lines[1::2] == uris
    assert all(len(line) <= WIDTH and line.endswith("*") for line in lines[::2])
    # and where there is room, all of an object is on one line
    assert [line.split()[-1] for line in shown(forebay, "ls", width=120)] == uris


def test_jobs_are_lists_of_values(forebay: Forebay, uris: list[str]) -> None:
    job = forebay("prefetch", *uris, "--json").json["id"]
    forebay("prefetch", *uris)

    lines = shown(forebay, "jobs")

    assert all(len(line) <= WIDTH for line in lines)
    first, second = "\n".join(lines).split("\n\n")
    assert first.splitlines()[:5] == [
        f"job         {job}",
        "state       done",
        "by          local",
        "samples     3/3",
        "failed      0",
    ]
    assert len(second.splitlines()) == len(first.splitlines()) == 7
    # and a file has the table, whatever the width
    assert len(forebay("jobs").lines) == 3


def test_leases_volumes_workers_and_the_rest_fit(
    forebay: Forebay, cache: MediaCache, uris: list[str]
) -> None:
    forebay("prefetch", *uris, "--lease", "1h")
    forebay("lease", "add", uris[0], "--for", "1h", "--name", "a-lease-with-a-long-name-of-30")
    with worker(cache):
        found = {
            command: shown(forebay, *command.split())
            for command in ("lease", "volumes", "stats", "doctor", "config")
        }

    for command, lines in found.items():
        # A word that is longer than the line, as a path is, may break; what is beside it may not.
        wide = [line for line in lines if len(line) > WIDTH and max(map(len, line.split())) < WIDTH // 2]
        assert (command, wide) == (command, [])


def test_doctor_leaves_no_word_out(forebay: Forebay) -> None:
    # given a message that begins with a word which does not fit beside the columns
    messages = [finding["message"] for finding in forebay("doctor", "--json").json]
    urls = [word for message in messages for word in message.split() if word.startswith("redis://")]
    assert len(urls) == 2

    shown_words = " ".join(shown(forebay, "doctor")).split()

    assert [word for word in shown_words if word.startswith("redis://")] == urls
