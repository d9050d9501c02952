"""Which machine and process this is, and whether another process lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from forebay import processes


def test_a_machine_has_one_name() -> None:
    assert processes.machine_name() == processes.machine_name()
    assert processes.machine_name().startswith(socket.gethostname())
    assert "/" not in processes.machine_name()


def test_a_location_names_the_host_and_the_real_directory(tmp_path: Path) -> None:
    os.symlink(str(tmp_path), f"{tmp_path}/link")

    assert (
        processes.location(f"{tmp_path}/link") == f"{socket.gethostname()}:{os.path.realpath(str(tmp_path))}"
    )


def test_this_process_is_alive() -> None:
    assert processes.is_identity_alive(processes.identity())
    assert processes.is_identity_alive(processes.identity() + "-1a2b3c4d")


def test_another_process_that_got_the_same_pid_is_not_it() -> None:
    if processes.start_time(os.getpid()) == "?":
        pytest.skip("this system does not tell when a process was started")
    assert not processes.is_alive(processes.pid_scope(), os.getpid(), "1")


def test_a_process_that_ended_is_not_alive_even_before_it_is_reaped() -> None:
    if processes.start_time(os.getpid()) == "?":
        pytest.skip("this system does not tell when a process was started")
    script = "from forebay import processes; print(processes.identity(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        identity = child.stdout.readline().strip()
        assert processes.is_identity_alive(identity)
        assert identity != processes.identity()

        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert not processes.is_identity_alive(identity)
    assert not processes.is_identity_alive(identity)


def test_of_a_process_elsewhere_nothing_is_known_so_it_counts_as_alive() -> None:
    assert processes.is_alive("0000000000", 1, "1")


def test_a_forked_child_has_an_identity_of_its_own() -> None:
    mine = processes.identity()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, processes.identity().encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(read, 100).decode() not in ("", mine)

    os.close(read)
    os.close(write)


@pytest.mark.parametrize("text", ["", "nonsense", "a-b-c", "a-1", "..-٣-1"])
def test_of_text_that_is_no_identity_nothing_can_be_told(text: str) -> None:
    assert processes.is_identity_alive(text)
