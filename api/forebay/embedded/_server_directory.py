"""The private directory of the embedded server, and an address of its socket that every client can use.

The socket lies in ``<cache_dir>/.forebay/valkey``. A unix socket's path may have about 100 bytes
only, and some clients trip over unusual characters in a URL: where the path is longer or unusual,
clients reach it through a link ``/tmp/forebay-<uid>/<hash of the path>`` to the directory. Each process
makes the link for itself when it is missing, so nothing depends on its being kept.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import stat
from urllib.parse import quote

from forebay import forks
from forebay.embedded._settings import SOCKET
from forebay.errors import VolumeError
from forebay.new_directories import make_directories

_PLAIN = re.compile(r"[A-Za-z0-9/._-]{1,100}\Z")
# Not $TMPDIR first: it may differ from process to process, and all should make the same link.
_BASES = ("/tmp",)
_REMEDY = (
    "choose another directory with FIFTYONE_MEDIA_CACHE_DIR, or set FIFTYONE_MEDIA_CACHE_REDIS_URL to a "
    "Redis of your own"
)


class ServerDirectory:
    """The directory of the embedded server of one cache directory, and the address of its socket.

    Attributes:
        cache_dir: the directory as it was given.
        directory: the server's directory.
        socket: a path by which clients can reach its socket.
    """

    def __init__(self, cache_dir: str) -> None:
        self.cache_dir = cache_dir
        try:
            self.directory = os.path.join(os.path.realpath(cache_dir), ".forebay", "valkey")
        except OSError as error:
            raise self._unusable(str(error.strerror)) from None
        self.socket = os.path.join(self.directory, SOCKET)
        self._link = None
        if not _PLAIN.match(self.socket):
            name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
            self._link = os.path.join(_link_directory(), name)
            self.socket = os.path.join(self._link, SOCKET)

    @property
    def url(self) -> str:
        """The server's index, for redis-py."""
        return f"unix://{quote(self.socket)}?db=0"

    def refuse_others(self) -> None:
        """Refuses another user's server, which root could reach, but would write files for it as root.

        Raises:
            VolumeError: the server's directory belongs to another user.
        """
        try:
            owner = os.lstat(self.directory).st_uid
        except OSError:
            return
        if owner != os.geteuid():
            raise self._unusable(
                f"{self.directory} belongs to user {_user(owner)}, and an embedded index serves one user"
            )

    def prepare(self) -> None:
        """Creates what is missing: the directory, for this user only, and the link to it.

        Raises:
            VolumeError: the directory cannot be created, is not ours, or cannot be written.
        """
        try:
            make_directories(os.path.dirname(self.directory))
            if not os.path.isdir(self.directory):
                os.makedirs(self.directory, 0o700, exist_ok=True)
            self.refuse_others()
            if stat.S_IMODE(os.lstat(self.directory).st_mode) & 0o077:
                os.chmod(self.directory, 0o700)
        except OSError as error:
            raise self._unusable(f"{error.filename or self.directory}: {error.strerror}") from None
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise self._unusable(f"{self.directory} cannot be written")
        self.make_reachable()

    def make_reachable(self) -> None:
        """Makes the link to the directory where `socket` needs one and it is missing.

        Raises:
            VolumeError: it cannot be made.
        """
        if self._link is not None:
            try:
                _make_link(self._link, self.directory)
            except OSError as error:
                raise self._unusable(f"the link {self._link} to it: {error.strerror}") from None

    def _unusable(self, reason: str) -> VolumeError:
        return VolumeError(
            f"the cache directory {self.cache_dir} cannot be used: {reason}; {_REMEDY}", path=self.cache_dir
        )


def _link_directory() -> str:
    """A short directory of this user alone; the first that exists, or else that can be made."""
    with forks.setting_up():
        import tempfile  # imported here: it takes 30 ms, and few cache directories need a link

    name = f"forebay-{os.geteuid()}"
    candidates = [os.path.join(base, name) for base in (*_BASES, tempfile.gettempdir())]
    for path in candidates:
        try:
            os.makedirs(path, 0o700, exist_ok=True)
            found = os.lstat(path)
        except OSError:
            continue
        private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        if private and found.st_uid == os.geteuid() and len(path) < 64:
            return path
    raise VolumeError(
        f"there is no place for a short link to a long cache directory: {candidates[0]} cannot be created, "
        f"or is not private to this user; remove it, or {_REMEDY}",
        path=candidates[0],
    )


def _make_link(link: str, target: str) -> None:
    try:
        if os.readlink(link) == target:
            return
    except OSError:
        pass
    draft = f"{link}.{os.getpid()}.{os.urandom(4).hex()}"
    os.symlink(target, draft)
    os.replace(draft, link)


def _user(number: int) -> str:
    try:
        return f"{pwd.getpwuid(number).pw_name} ({number})"
    except KeyError:
        return str(number)
