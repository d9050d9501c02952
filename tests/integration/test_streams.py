"""Commands whose standard streams are closed, full, or know ASCII only."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.commands import COMMAND, Forebay


def shell(forebay: Forebay, line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of shell in which ``forebay`` is the command."""
    return subprocess.run(
        ["bash", "-c", line.replace("forebay", shlex.quote(COMMAND))],
        check=False,
        capture_output=True,
        env=forebay.environment() | variables,
        timeout=60,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["stats", "jobs --json", "--help"])
def test_a_closed_stream_is_none_to_write_to(forebay: Forebay, closed: str, command: str) -> None:
    done = shell(forebay, f"forebay {command} {closed}")

    assert (done.returncode, done.stderr) == (0, b"")
    if ">&- " not in f"{closed} ".replace("2>&-", ""):
        assert done.stdout


def test_errors_do_not_go_into_the_result(forebay: Forebay) -> None:
    # given a closed stderr, when a command warns or fails, then stdout has its result only
    done = shell(forebay, "forebay stats --json 2>&-; forebay get s3:/b/k 2>&-")

    assert json.loads(done.stdout)["current_count"] == 0
    assert done.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_result_that_cannot_be_written_is_an_error(forebay: Forebay) -> None:
    done = shell(forebay, "forebay stats >/dev/full")

    assert done.returncode == 1
    assert done.stderr.decode() == (
        "error: the result cannot be written to stdout: No space left on device; send it to another place\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_messages_that_cannot_be_written_end_no_command(forebay: Forebay) -> None:
    done = shell(
        forebay, "forebay clear --all --yes >/dev/null 2>/dev/full && forebay stats --json -v 2>/dev/full"
    )

    assert done.returncode == 0
    assert json.loads(done.stdout)["current_count"] == 0


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {
            "LC_ALL": "POSIX",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONUTF8": "0",
            "PYTHONIOENCODING": "ascii:strict",
        },
    ],
    ids=str,
)
def test_an_ascii_locale_is_no_reason_to_fail(forebay: Forebay, variables: dict[str, str]) -> None:
    for command in ("--help", "prefetch --help", "stats", "ls", "jobs", "doctor", "config"):
        done = shell(forebay, f"forebay {command}", **variables)
        assert done.returncode == 0, done
        assert b"bug in Forebay" not in done.stderr

    # an object whose name has other letters is worked with, or refused in words
    done = shell(
        forebay, "forebay get s3://bücket/é.jpg", **variables | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    )
    assert done.returncode in (1, 2)
    assert done.stderr.startswith(b"error: ")
    assert b"bug in Forebay" not in done.stderr
    if variables.get("PYTHONUTF8") == "0":
        assert b"set PYTHONUTF8=1, or LC_ALL=C.UTF-8" in done.stderr


def test_the_library_says_why_a_name_cannot_be_written(forebay: Forebay) -> None:
    # given a process whose names of files are ASCII, and a URI from a database
    code = "import forebay; forebay.local_path('s3://bucket/\\u00e9.jpg')"
    variables = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    python = str(Path(COMMAND).with_name("python"))
    done = subprocess.run(
        [python, "-c", code],
        check=False,
        capture_output=True,
        env=os.environ | forebay.environment() | variables,
        timeout=60,
    )

    last = done.stderr.decode().strip().splitlines()[-1]
    assert last.startswith("forebay.UriError: ")
    assert last.endswith("which encodes them as ascii: set PYTHONUTF8=1, or LC_ALL=C.UTF-8")
