"""The tokens that azure-identity gets from Microsoft Entra, kept fresh."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

from forebay import forks
from forebay.errors import AccessDeniedError, TransientSourceError
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_SCOPE = "https://storage.azure.com/.default"
# azure-identity renews a token that has less left than this.
_ENOUGH_LEFT_SECONDS = 300.0
_ASKING_SECONDS = 0.5
# What Entra calls its errors; the rest of their text may repeat what was sent.
_CODE = re.compile(r"AADSTS\d{1,9}")
# It warns with pages of what it tried, although that may be no error, and with the words of Entra, which may
# repeat what was sent. A user who wants that sets the level of this logger.
_LOGGER = logging.getLogger("azure.identity")
_LOGGER.addHandler(logging.NullHandler())
if _LOGGER.level == logging.NOTSET:
    _LOGGER.setLevel(logging.ERROR)
_TRIED = "the environment, workload and managed identity, the Azure CLI, and other logins"


class AzureTokens:
    """The tokens of one credential.

    Where `DefaultAzureCredential` finds nothing at all, requests carry none, which is what public containers
    want.

    Args:
        credential: azure-identity's; ``None`` to send nothing.
        description: what it is, for error messages.
        optional: whether requests go without a token where the credential finds no login.

    Attributes:
        description: the same, with what came of it.
    """

    def __init__(
        self, credential: TokenCredential | None, description: str, *, optional: bool = False
    ) -> None:
        self.credential = credential
        self.description = description
        self._optional = optional
        self._token = ""
        self._due = self._asked = float("-inf")

    def current(self, uri: MediaURI) -> str:
        """The value of the header Authorization; empty for none. May ask other servers and programs.

        Raises:
            AccessDeniedError: the credential cannot be used, for ``uri``.
            TransientSourceError: the server that gives tokens cannot be reached.
        """
        if self.credential is not None and time.time() > self._due:
            # No fork happens meanwhile: a child would find locks held.
            with forks.setting_up():
                if self.credential is not None and time.time() > self._due:
                    self._renew(self.credential, uri)
        return self._token

    def expire(self, authorization: str | None) -> None:
        """Has the next call renew the token that a server has refused, unless that has been done."""
        with forks.setting_up():
            if authorization == self._token and time.monotonic() > self._asked + _ASKING_SECONDS:
                self._due = float("-inf")

    def _renew(self, credential: TokenCredential, uri: MediaURI) -> None:
        from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
        from azure.identity import CredentialUnavailableError

        try:
            token = credential.get_token(_SCOPE)
        except (CredentialUnavailableError, ClientAuthenticationError) as error:
            code = _CODE.search(str(error))
            if code is None and self._optional:
                self.credential, self._token = None, ""
                self.description = (
                    f"no credentials (DefaultAzureCredential asked {_TRIED}: there is no login)"
                )
                return
            told = f"Microsoft Entra refused with {code[0]}" if code else "Microsoft Entra refused"
            remedy = "check client_id, client_secret and tenant, or log in with `az login`"
            raise AccessDeniedError(
                uri.redacted, f"{self.description} cannot be used: {told}; {remedy}"
            ) from None
        except (ServiceRequestError, ServiceResponseError):
            raise TransientSourceError(
                uri.redacted, f"{self.description} cannot be renewed: Microsoft Entra cannot be reached"
            ) from None
        except Exception as error:
            raise AccessDeniedError(
                uri.redacted,
                f"{self.description} cannot be used: azure-identity failed with {type(error).__name__}",
            ) from None
        self._token = f"Bearer {token.token}"
        # Another process may have the same token, so it is given a little to be renewed.
        self._due = token.expires_on - _ENOUGH_LEFT_SECONDS
        self._asked = time.monotonic()
