"""SAS tokens for Azure: one for each container that is read with an account key, and those of signed URLs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from forebay import forks

if TYPE_CHECKING:
    from azure.storage.blob import UserDelegationKey

# Requests wait in queues and are sent again, so that a token that is lent lasts much longer than it is used.
_LASTS = timedelta(hours=12)
_RENEWED_AFTER_SECONDS = 6 * 3600.0
# Clocks differ; Microsoft's documentation of SAS advises a start 15 minutes ago.
_SKEW = timedelta(minutes=15)
_PERMISSIONS = {"GET": "r", "HEAD": "r", "PUT": "cw", "DELETE": "d"}
LONGEST_SECONDS = 7 * 24 * 3600
METHODS = frozenset(_PERMISSIONS)


class ContainerTokens:
    """SAS tokens with which an account key lets containers be read and listed, so that no request is signed.

    Args:
        account: the account's name.
        key: its key.
    """

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        self._key = key
        self._made: dict[str, tuple[str, float]] = {}

    def current(self, container: str) -> str:
        """The token for a container; for the empty name, one that lists the account's containers."""
        made = self._made.get(container)
        if made is None or time.monotonic() > made[1]:
            with forks.setting_up():
                made = self._made.get(container)
                if made is None or time.monotonic() > made[1]:
                    made = self._sign(container), time.monotonic() + _RENEWED_AFTER_SECONDS
                    self._made[container] = made
        return made[0]

    def _sign(self, container: str) -> str:
        from azure.storage.blob import (
            AccountSasPermissions,
            ContainerSasPermissions,
            ResourceTypes,
            generate_account_sas,
            generate_container_sas,
        )

        now = datetime.now(timezone.utc)
        start, end = now - _SKEW, now + _LASTS
        if not container:
            return str(
                generate_account_sas(
                    self._account,
                    self._key,
                    ResourceTypes(service=True),
                    AccountSasPermissions(list=True),
                    end,
                    start,
                )
            )
        return str(
            generate_container_sas(
                self._account,
                container,
                account_key=self._key,
                permission=ContainerSasPermissions(read=True, list=True),
                expiry=end,
                start=start,
            )
        )


class DelegationKeys:
    """The key that Azure lends to those who log in, with which they sign URLs; kept until it is due.

    Args:
        ask: asks Azure for one that is valid between two moments.
    """

    def __init__(self, ask: Callable[[datetime, datetime], UserDelegationKey]) -> None:
        self._ask = ask
        self._key: UserDelegationKey | None = None
        self._until = datetime.min.replace(tzinfo=timezone.utc)

    def until(self, end: datetime) -> UserDelegationKey:
        """One that is valid until then at least."""
        with forks.setting_up():
            if self._key is None or end > self._until:
                now = datetime.now(timezone.utc)
                until = min(max(end, now + timedelta(days=1)), now + timedelta(seconds=LONGEST_SECONDS))
                self._key = self._ask(now - _SKEW, until)
                self._until = until
            return self._key


def blob_token(
    account: str,
    container: str,
    blob: str,
    method: str,
    expires_seconds: int,
    *,
    key: str | None = None,
    delegated: Callable[[datetime], UserDelegationKey] | None = None,
) -> str:
    """A SAS token for one method on one blob, signed with an account key or a delegated one."""
    from azure.storage.blob import BlobSasPermissions, generate_blob_sas

    end = datetime.now(timezone.utc) + timedelta(seconds=expires_seconds)
    signer: dict[str, Any] = {"account_key": key}
    if delegated is not None:
        signer = {"user_delegation_key": delegated(end)}
    return str(
        generate_blob_sas(
            account,
            container,
            blob,
            permission=BlobSasPermissions.from_string(_PERMISSIONS[method]),
            expiry=end,
            start=datetime.now(timezone.utc) - _SKEW,
            **signer,
        )
    )
