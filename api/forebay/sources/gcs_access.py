"""The endpoint and credentials for Google Cloud Storage, as Google's libraries find them.

google-auth resolves the credentials: the setting ``google_application_credentials``, else
``GOOGLE_APPLICATION_CREDENTIALS``, ``gcloud auth application-default login``, or the machine's own
service account. Where none are found at all, requests carry none, which is what public buckets want.
``STORAGE_EMULATOR_HOST`` is honoured; an emulator gets credentials only from the setting.

``extra_client_kwargs["gs"]`` (or ``["gcs"]``) may have

* ``anonymous``: send no credentials although there are some;
* ``user_project``: the project to bill for buckets where the requester pays;
* ``client_options={"api_endpoint": ...}``: another endpoint than ``https://storage.googleapis.com``;
* ``project``, by which buckets are listed; nothing else needs it.
"""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

# google-auth is imported in the functions that need it, as it comes with an extra.
_SCOPE = "https://www.googleapis.com/auth/devstorage."
_OPTIONS = frozenset({"anonymous", "user_project", "client_options", "project"})
# obstore asks for a new token when less than 5 minutes are left.
_ENOUGH_LEFT = timedelta(minutes=6)


@dataclass
class GCSAccess:
    """The endpoint, credentials and options with which Google Cloud Storage is reached.

    Attributes:
        credentials: ``None`` to send none.
        project: the project whose buckets can be listed; ``None`` where it is not known.
        headers: sent with each request.
        credential_provider: gives obstore its tokens.
        connect_timeout: in seconds.
        read_timeout: in seconds; how long to wait for the next bytes.
    """

    endpoint: str
    credentials: Credentials | None
    project: str | None
    headers: dict[str, str]
    credential_provider: GCSCredentialProvider
    connect_timeout: float
    read_timeout: float


class GCSCredentialProvider:
    """Gives obstore the token that google-auth keeps fresh.

    (`obstore.auth.google` would do, but needs Python 3.11.)
    """

    def __init__(self, credentials: Credentials | None, description: str) -> None:
        self.description = description
        self.error: Exception | None = None
        self._credentials = credentials
        self._lock = threading.Lock()

    def __call__(self) -> dict[str, Any]:
        if self._credentials is None:
            return {"token": "", "expires_at": None}
        try:
            return self._token(self._credentials)
        except Exception as error:
            self.error = error
            raise

    def _token(self, credentials: Credentials) -> dict[str, Any]:
        from google.auth.transport.requests import Request

        with self._lock:
            expiry = _aware(credentials.expiry)
            if not credentials.token or (expiry and expiry < datetime.now(timezone.utc) + _ENOUGH_LEFT):
                credentials.refresh(Request())  # type: ignore[no-untyped-call]
            return {"token": credentials.token, "expires_at": _aware(credentials.expiry)}


def gcs_access(config: MediaCacheConfig, *, write: bool = False) -> GCSAccess:
    """The endpoint and credentials for ``gs://`` URIs.

    Args:
        write: ask for tokens that may write; otherwise they can do nothing but read.

    Raises:
        ConfigError: the credentials file cannot be used, or an option is unknown.
        SourceError: google-cloud-storage is not installed.
    """
    try:
        import google.auth
    except ImportError:
        raise SourceError("gs://", "needs google-cloud-storage: pip install 'forebay[gcs]'") from None
    extra = {**config.extra_client_kwargs.get("gcs", {}), **config.extra_client_kwargs.get("gs", {})}
    if unknown := sorted(set(extra) - _OPTIONS):
        known = ", ".join(sorted(_OPTIONS))
        raise ConfigError(f"setting extra_client_kwargs: 'gs' has no {unknown[0]!r}; known are {known}")
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    endpoint = emulator or extra.get("client_options", {}).get("api_endpoint") or ""
    if endpoint and "://" not in endpoint:
        endpoint = f"http://{endpoint}" if emulator else f"https://{endpoint}"
    credentials, project, description = _credentials(google.auth, config, extra, bool(emulator), write)
    return GCSAccess(
        endpoint=endpoint.rstrip("/") or "https://storage.googleapis.com",
        credentials=credentials,
        project=extra.get("project") or os.environ.get("GOOGLE_CLOUD_PROJECT") or project,
        headers={"x-goog-user-project": extra["user_project"]} if extra.get("user_project") else {},
        credential_provider=GCSCredentialProvider(credentials, description),
        connect_timeout=config.connect_timeout_seconds,
        read_timeout=config.read_timeout_seconds,
    )


def _credentials(
    auth: Any, config: MediaCacheConfig, extra: dict[str, Any], emulator: bool, write: bool
) -> tuple[Credentials | None, str | None, str]:
    if extra.get("anonymous"):
        return None, None, "no credentials (extra_client_kwargs asks for none)"
    path = config.google_application_credentials
    scopes = (_SCOPE + ("read_write" if write else "read_only"),)
    try:
        if path is not None:
            return *_from_file(auth, path, scopes), f"the Google credentials of {path}"
        if emulator:
            return None, "emulated", "no credentials (STORAGE_EMULATOR_HOST is set)"
        found, project = auth.default(scopes=scopes)
        account = getattr(found, "service_account_email", None)
        return (
            found,
            project,
            "the Google credentials found by default" + (f" ({account})" if account else ""),
        )
    except (auth.exceptions.GoogleAuthError, OSError, ValueError) as error:
        variable = "GOOGLE_APPLICATION_CREDENTIALS"
        if path is not None:
            raise ConfigError(f"setting google_application_credentials={path!r}: {error}") from None
        if os.environ.get(variable):
            raise ConfigError(f"environment variable {variable}: {error}") from None
        return None, None, "no credentials (no application default credentials were found)"


def _from_file(auth: Any, path: str, scopes: tuple[str, ...]) -> tuple[Credentials, str | None]:
    with warnings.catch_warnings():
        # It warns of files from people one does not trust; this one is the user's own.
        warnings.simplefilter("ignore", DeprecationWarning)
        found: tuple[Credentials, str | None] = auth.load_credentials_from_file(
            os.path.expanduser(path), scopes=scopes
        )
        return found


def _aware(moment: datetime | None) -> datetime | None:
    """google-auth's moments are in UTC without saying so."""
    return moment.replace(tzinfo=timezone.utc) if moment is not None and moment.tzinfo is None else moment
