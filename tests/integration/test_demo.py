"""The demo does what it says, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from azure.storage.blob import BlobServiceClient

from forebay.embedded import stop
from tests.servers.azurite import missing

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_demo_tells_its_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = _finished(_start(tmp_path), timeout=120)

    assert done.returncode == 0, done.stdout
    told = done.stdout
    assert "600 samples, 600 to fetch through the fleet" in told
    assert "600 of 600 samples cached, 600 downloaded" in told
    assert "600 of 600 samples cached, all already cached" in told
    assert "All 600 were opened and are byte for byte what was uploaded" in told
    assert "200 of 200 samples cached, 200 downloaded" in told
    held = re.search(r"never held more than ([\d,]+) of the ([\d,]+) bytes", told)
    assert held is not None
    assert 0 < _number(held[1]) <= _number(held[2])
    assert re.search(r"\d+ had to go, oldest first: exactly those that were read before all others", told)
    assert "monday/astronaut/0000.jpg" in told
    assert told.endswith("Nothing is left behind: no process, no file.\n")
    assert _left_behind(tmp_path) == []


@pytest.mark.parametrize("heading", ["A fleet of one worker", "Prefetch through the worker"])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, heading: str) -> None:
    process = _start(tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if heading in line:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    done = _finished(process, timeout=60)

    assert done.returncode == 130, done.stdout
    assert done.stdout.endswith("Nothing is left behind: no process, no file.\n")
    assert _left_behind(tmp_path) == []


def test_the_photographs_of_the_documentation_can_be_served(tmp_path: Path) -> None:
    # Given the server, and what it prints for a shell
    process = _start(tmp_path, "photo_server.py")
    assert process.stdout is not None
    lines = list(iter(process.stdout.readline, "\n"))
    assert all(line.startswith("export ") for line in lines), lines

    # When a shell does what the quickstart says
    settings = {"FIFTYONE_MEDIA_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    make = "forebay prefetch s3://photos/ && forebay ls | grep -o 's3://.*' > manifest.txt"
    assert make in (EXAMPLES.parent / "docs" / "quickstart.md").read_text()
    done = subprocess.run(
        ["bash", "-euc", "".join([*lines, f"{make} && forebay prefetch @manifest.txt"])],
        env={"PATH": "/usr/bin:/bin", **settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    stop(str(tmp_path / "cache"))
    process.send_signal(signal.SIGINT)

    # Then all photographs are there, and nothing is left of the server
    assert "60 of 60 samples cached, 60 downloaded" in done.stdout, done.stderr
    assert "60 of 60 samples cached, all already cached" in done.stdout, done.stderr
    assert "s3://photos/chelsea/0000.jpg\n" in (tmp_path / "manifest.txt").read_text()
    assert _finished(process, timeout=60).returncode == 0
    assert _left_behind(tmp_path) == []


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_the_photographs_can_be_served_from_azure_too(tmp_path: Path) -> None:
    # Given the server, and what it prints for a shell
    process = _start(tmp_path, "photo_server.py", "--azure")
    assert process.stdout is not None
    lines = list(iter(process.stdout.readline, "\n"))
    assert all(line.startswith("export ") for line in lines), lines
    said = [process.stdout.readline() for _ in range(2)]
    told = dict(line.removeprefix("export ").rstrip().partition("=")[::2] for line in lines)

    # When the account is asked with what was printed
    account = BlobServiceClient(told["AZURE_STORAGE_ACCOUNT_URL"], credential=told["AZURE_STORAGE_KEY"])
    with account:
        blobs = [blob.name for blob in account.get_container_client("photos").list_blobs()]
    process.send_signal(signal.SIGINT)

    # Then the photographs are there as in the bucket, and nothing is left of the servers
    assert (len(blobs), blobs[0][:10]) == (60, "astronaut/")
    assert said[1] == "The same are in az://photos/, as az://photos/chelsea/0000.jpg.\n"
    assert _finished(process, timeout=60).returncode == 0
    assert _left_behind(tmp_path) == []


def _start(directory: Path, program: str = "demo.py", *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / program), *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _finished(process: subprocess.Popen[str], timeout: float) -> subprocess.CompletedProcess[str]:
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate()
        pytest.fail(f"the demo did not end within {timeout} s:\n{output}")
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def _left_behind(directory: Path) -> list[str]:
    """Files below a directory, and processes that were given it as their home."""
    found = [str(path) for path in directory.rglob("forebay-*")]
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(directory):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def _number(text: str) -> int:
    return int(text.replace(",", ""))
