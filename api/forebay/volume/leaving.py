"""The way out of a volume, in steps of which all but the last can be undone, however long a pause is.

An evictor moves each file into a directory of its own before it unlinks it. To end an evictor's claims
without its help (it was paused, and its session has expired; or a lease cannot wait for it any longer) is to
dismiss it: what lies in its directory is put back, and the directory is removed. Then its next rename finds
no directory, and its next unlink no file. So nothing leaves that was leased, or was downloaded again, after
the claims were ended.

A hit does not ask Redis, and so does not know of claims. It marks the file with the time, and only then looks
for an evictor's sign on it. The evictor sets the sign, and only then looks for a new mark. Whichever comes
first, one of the two sees the other: the evictor keeps the file, or the hit counts as a miss.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable

from forebay.errors import ForebayError
from forebay.volume.files import TOKEN, Files
from forebay.volume.signs import LEAVING, is_leaving

# The directory cannot be made, or nothing be moved there. What frees space must do without.
_IMPOSSIBLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EXDEV, errno.EMLINK, errno.EACCES, errno.EPERM, errno.EROFS}
)


class DismissedError(Exception):
    """The claims of this evictor were ended by another process: it must remove nothing more."""


class WayOut:
    """The directories of evictors of one volume.

    Args:
        files: the volume's files.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        # Tokens of this process without a directory, as the disk is full.
        self._without: set[str] = set()

    # The evictor's side

    def open(self, token: str) -> None:
        """Makes the directory of a token. This must come before the first claim with it."""
        try:
            os.makedirs(self._directory(token), mode=0o700)
        except OSError as error:
            if error.errno not in _IMPOSSIBLE:
                raise
            self._without.add(token)

    def close(self, token: str) -> None:
        """Removes the directory of a token, whose claims have ended."""
        self._without.discard(token)
        with contextlib.suppress(OSError):
            os.rmdir(self._directory(token))

    def sign(self, path: str, before: os.stat_result) -> float | None:
        """Sets the evictor's sign on a file.

        Args:
            before: what was known of the file before it was decided to remove it.

        Returns:
            the time of an access since then, in seconds since the epoch, where there was one: the sign is
            taken back, and the file must stay; else ``None``.

        Raises:
            FileNotFoundError: there is no such file.
        """
        # A file of another user, or a file system without modes, bears no sign.
        if stat.S_ISREG(before.st_mode):
            try:
                self._files.beneath.chmod(path, stat.S_IMODE(before.st_mode) | LEAVING)
            except OSError as error:
                if error.errno is None:
                    # Not of the disk: the handler of a signal raised it.
                    raise
        now = self._files.beneath.status(path)
        if (now.st_ino, now.st_atime_ns) == (before.st_ino, before.st_atime_ns):
            return None
        self.take_sign_back(path)
        return now.st_atime

    def take_sign_back(self, path: str) -> None:
        """Removes an evictor's sign from a file that stays, if there is one."""
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and is_leaving(found):
                self._files.beneath.chmod(path, stat.S_IMODE(found.st_mode) & ~LEAVING)

    def remove(self, token: str, entry: str, path: str) -> None:
        """Removes a file of an entry that is claimed with the token.

        Raises:
            DismissedError: the claim was ended by another process. The file is in its place.
            OSError: it cannot be removed.
        """
        place = self._place(token, entry)
        try:
            if token in self._without:
                self._files.beneath.unlink(path)
                return
            self._files.beneath.take_out(path, place)
        except FileNotFoundError:
            if token not in self._without and not os.path.isdir(self._directory(token)):
                raise DismissedError from None
            # It was removed by hand.
            return
        except OSError as error:
            if error.errno not in _IMPOSSIBLE:
                raise
            self._files.beneath.unlink(path)
            return
        try:
            os.unlink(place)
        except FileNotFoundError:
            raise DismissedError from None
        except OSError:
            self._put_back(entry, place)
            raise

    # The side of those who end its claims

    def tokens(self) -> list[str]:
        """The tokens of all evictors that have a directory."""
        try:
            return os.listdir(self._parent())
        except OSError:
            return []

    def dismiss(self, token: str, entries: Iterable[str]) -> None:
        """Ends an evictor's right to remove anything; only after that its claims may be ended.

        Args:
            entries: that are claimed with its token; their files come back to their places.

        Raises:
            OSError: this user may not, or the disk does not answer.
        """
        if not TOKEN.match(token):
            # Redis may hold anything. No evictor has a directory of that name.
            return
        wanted, directory = list(entries), self._directory(token)
        while True:
            try:
                left = set(os.listdir(directory))
            except FileNotFoundError:
                break
            for entry in wanted if left else ():
                place = self._place(token, entry)
                if os.path.basename(place) in left:
                    left.discard(os.path.basename(place))
                    self._put_back(entry, place)
            # No claim tells any more which entries these are of.
            for name in left:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{directory}/{name}")
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                break
            except OSError as error:
                # It goes on meanwhile.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        for entry in wanted:
            path = self._files.locate(entry)
            if path is not None:
                self.take_sign_back(path)

    def _put_back(self, entry: str, place: str) -> None:
        layout = self._files.layout()
        for path in (layout.path(entry), layout.alternate_path(entry)):
            try:
                self._files.make_room_for(path)
                if not os.path.lexists(path):
                    self._files.beneath.rename(place, path)
                    return
            except FileNotFoundError:
                # Another process does the same; or the directory was pruned, and the next round makes it.
                return
            except (FileExistsError, NotADirectoryError):
                continue
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)

    def _parent(self) -> str:
        # On the disk of the partial files, as a file can be moved within one disk only.
        return self._files.layout().temporary_dir + ".leaving"

    def _directory(self, token: str) -> str:
        if "/" in token or token in ("", ".", ".."):
            raise ForebayError(f"{token!r} is no token of an evictor")
        return f"{self._parent()}/{token}"

    def _place(self, token: str, entry: str) -> str:
        return f"{self._directory(token)}/{hashlib.sha1(entry.encode()).hexdigest()}"
