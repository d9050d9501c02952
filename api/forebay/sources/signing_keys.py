"""The keys that sign requests to S3 servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from forebay import forks
from forebay.transport import Credentials

# botocore knows when keys are due for renewal; those that expire are asked for again after so long.
_ASKING_SECONDS = 0.5


class SigningKeys:
    """The keys that sign requests, kept fresh.

    Args:
        find: finds botocore's credentials; is called again when a server says that they have expired.
        description: what they are, for error messages.
        found: what it has found.
    """

    def __init__(self, find: Callable[[], Any], description: str, found: Any) -> None:
        self.description = description
        self._find = find
        self._use(found)
        self._asked = self._searched = float("-inf")
        self._now: dict[str, Credentials] = {}

    def _use(self, found: Any) -> None:
        self._found = found
        # Fixed keys need not be asked for again.
        self._asking_seconds = _ASKING_SECONDS if self.botocore is not None else float("inf")

    @classmethod
    def fixed(cls, access_key: str, secret_key: str, token: str | None, description: str) -> SigningKeys:
        """SigningKeys that never expire."""
        found = _Fixed(access_key, secret_key, token)
        return cls(lambda: found, description, found)

    @property
    def botocore(self) -> Any:
        """The credentials that botocore's client signs with; ``None`` for keys that are fixed."""
        return self._found if hasattr(self._found, "refresh_needed") else None

    def current(self, region: str = "") -> Credentials:
        """The keys, renewed if they are about to expire. May ask other servers and programs.

        Raises:
            Exception: whatever keeps botocore from getting them.
        """
        lent = self._now.get(region)
        if lent is not None and time.monotonic() < self._asked + self._asking_seconds:
            return lent
        # No fork happens meanwhile: botocore has locks of its own, which a child would find held.
        with forks.setting_up():
            keys = self._found.get_frozen_credentials()
            self._asked = time.monotonic()
            if not all(isinstance(key or "", str) for key in (keys.access_key, keys.secret_key, keys.token)):
                raise ValueError("a key or token is no text")
            fresh = Credentials(
                (keys.access_key or "").strip(),
                (keys.secret_key or "").strip(),
                (keys.token or "").strip() or None,
                region,
            )
            # As long as nothing changes they stay one object, by which the transport knows them.
            if lent != fresh or lent is None:
                lent = self._now[region] = fresh
            return lent

    def renewed(self, refused: Credentials) -> Credentials | None:
        """Other keys than those that a server takes for expired; ``None`` where there are none."""
        with forks.setting_up():
            fresh = self.current(refused.region)
            if fresh == refused and time.monotonic() > self._searched + _ASKING_SECONDS:
                self._use(self._find() or self._found)
                self._now = {}
                self._searched = time.monotonic()
                fresh = self.current(refused.region)
        return None if fresh == refused else fresh


@dataclass(frozen=True)
class _Fixed:
    access_key: str
    secret_key: str
    token: str | None

    def get_frozen_credentials(self) -> _Fixed:
        return self
