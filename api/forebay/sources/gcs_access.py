"""The endpoint and credentials for Google Cloud Storage, as Google's libraries find them.

google-auth resolves the credentials: the setting ``google_application_credentials``, else
``GOOGLE_APPLICATION_CREDENTIALS``, ``gcloud auth application-default login``, or the machine's own
service account. Where none are found at all, requests carry none, which is what public buckets want.
``STORAGE_EMULATOR_HOST`` is honoured; an emulator gets credentials only from the setting.

``extra_client_kwargs["gs"]`` (or ``["gcs"]``) may have

* ``anonymous``: send no credentials although there are some;
* ``user_project``: the project to bill for buckets where the requester pays;
* ``client_options={"api_endpoint": ...}``: another endpoint than ``https://storage.googleapis.com``;
* ``project``, by which buckets are listed; nothing else needs it;
* ``extra_headers``, which go along with each request.

What else Google's client takes is passed to it.
"""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from forebay import forks
from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, ConfigError, SourceError, TransientSourceError
from forebay.sources.client_words import arguments_of, check_words, mapping, say_ignored, text
from forebay.sources.credential_rules import by_rule
from forebay.sources.routes import checked_endpoint, limits_of
from forebay.transport import Limits
from forebay.transport.proxies import Proxies, proxies_from
from forebay.transport.tls import TLS, tls_from
from forebay.uri import MediaURI, is_key_itself, shown

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

# google-auth is imported in the functions that need it, as it comes with an extra.
_SCOPE = "https://www.googleapis.com/auth/devstorage."
_OPTIONS = frozenset({"anonymous", "user_project", "client_options", "project", "extra_headers"})
# What goes to Google's client as it is.
_OF_THE_CLIENT = frozenset({"client_info", "use_auth_w_custom_endpoint"})
# A token is renewed when less than this is left, as google-auth has it; the machine's own servers give
# the same one again until then, so that it is not asked for with every request.
_ENOUGH_LEFT = timedelta(minutes=3, seconds=45)
_ASKING_SECONDS = 0.5


@dataclass(frozen=True)
class GCSAccess:
    """The endpoint, credentials and options with which Google Cloud Storage is reached.

    Attributes:
        tokens: what requests are authorized with.
        project: the project whose buckets can be listed; ``None`` where it is not known.
        headers: sent with each request.
        arguments: further ones of Google's client.
    """

    endpoint: str
    tokens: Tokens
    project: str | None
    headers: dict[str, str]
    tls: TLS
    proxies: Proxies
    limits: Limits
    arguments: dict[str, Any] = field(default_factory=dict)

    def client(self, credentials: Credentials) -> Any:
        """A client of Google's package, for what the transport does not do."""
        from google.cloud import storage

        return storage.Client(
            **{
                **self.arguments,
                "project": "none",
                "credentials": credentials,
                "client_options": {"api_endpoint": self.endpoint},
                "extra_headers": dict(self.headers),
            }
        )


class Tokens:
    """The tokens that google-auth keeps fresh.

    Attributes:
        credentials: google-auth's; ``None`` to send none.
        description: what they are, for error messages.
    """

    def __init__(self, credentials: Credentials | None, description: str) -> None:
        self.credentials = credentials
        self.description = description
        self._asked = float("-inf")

    def current(self, uri: MediaURI) -> str:
        """The value of the header Authorization; empty for none. May ask other servers.

        Raises:
            AccessDeniedError: the credentials cannot be used, for ``uri``.
            TransientSourceError: Google cannot be reached.
        """
        credentials = self.credentials
        if credentials is None:
            return ""
        token = credentials.token
        if not token or self._is_due(credentials):
            # No fork happens meanwhile: a child would find locks held.
            with forks.setting_up():
                if not credentials.token or self._is_due(credentials):
                    self._refresh(credentials, uri)
                token = credentials.token
        return f"Bearer {token}"

    def expire(self, authorization: str | None) -> None:
        """Has the next call renew the token that a server has refused, unless that has been done."""
        with forks.setting_up():
            if self.credentials is not None and authorization == f"Bearer {self.credentials.token}":
                self.credentials.token = None

    def _is_due(self, credentials: Credentials) -> bool:
        expiry: datetime | None = credentials.expiry
        if expiry is None or time.monotonic() < self._asked + _ASKING_SECONDS:
            return False
        # google-auth's moments are in UTC without saying so.
        return expiry.replace(tzinfo=timezone.utc) < datetime.now(timezone.utc) + _ENOUGH_LEFT

    def _refresh(self, credentials: Credentials, uri: MediaURI) -> None:
        from google.auth.exceptions import TransportError
        from google.auth.transport.requests import Request

        try:
            credentials.refresh(Request())  # type: ignore[no-untyped-call]
        except TransportError as error:
            reason = f"{self.description} cannot be renewed: {error}"
            raise TransientSourceError(uri.redacted, reason) from None
        except Exception as error:
            raise AccessDeniedError(uri.redacted, f"{self.description} cannot be used: {error}") from None
        self._asked = time.monotonic()


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
    extra = arguments_of(config, "gs")
    check_words(extra, _OPTIONS | _OF_THE_CLIENT, "gs")
    say_ignored(extra.keys() & _OF_THE_CLIENT, "gs")
    options = mapping(extra, "client_options", "gs")
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "").strip()
    if "endpoint_url" in config.rule_words:
        emulator = ""
    configured = text(options, "api_endpoint", "gs") or ""
    endpoint = emulator or configured.strip()
    if endpoint and "://" not in endpoint:
        endpoint = f"http://{endpoint}" if emulator else f"https://{endpoint}"
    where = (
        "environment variable STORAGE_EMULATOR_HOST"
        if emulator
        else "setting extra_client_kwargs, 'gs': client_options.api_endpoint"
    )
    # Imported now, because no fork can happen meanwhile.
    import google.auth.transport.requests

    credentials, project, description = _credentials(google.auth, config, extra, bool(emulator), write)
    project = text(extra, "project", "gs") or os.environ.get("GOOGLE_CLOUD_PROJECT") or project
    payer = text(extra, "user_project", "gs")
    if not payer and "requester_pays" in config.rule_words:
        payer = project
        if not payer:
            raise ConfigError(
                f"setting credentials, {shown(config.rule)}: requester_pays must name the project that pays",
                setting="credentials",
            )
    return GCSAccess(
        endpoint=checked_endpoint(endpoint, where) or "https://storage.googleapis.com",
        tokens=Tokens(credentials, by_rule(description, config.rule)),
        project=project,
        headers=mapping(extra, "extra_headers", "gs", texts=True)
        | ({"x-goog-user-project": payer} if payer else {}),
        arguments={name: value for name, value in extra.items() if name in _OF_THE_CLIENT},
        tls=tls_from(os.environ),
        proxies=proxies_from(os.environ),
        limits=limits_of(config),
    )


def _credentials(
    auth: Any, config: MediaCacheConfig, extra: dict[str, Any], emulator: bool, write: bool
) -> tuple[Credentials | None, str | None, str]:
    if extra.get("anonymous"):
        origin = "anonymous" if "anonymous" in config.rule_words else "extra_client_kwargs"
        return None, None, f"no credentials ({origin} asks for none)"
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
            name = "google_application_credentials"
            text = _problem(path, error)
            raise ConfigError(f"setting {name}={shown(path)}: {text}", setting=name) from None
        if os.environ.get(variable):
            text = _problem(os.environ[variable], error)
            raise ConfigError(f"environment variable {variable}: {text}", setting=variable) from None
        return None, None, "no credentials (no application default credentials were found)"


def _problem(path: str, error: Exception) -> str:
    """What is wrong with a key file, without the library's words, which may repeat the key."""
    if is_key_itself(path):
        return "it must be the path of a file with the key, not the key itself"
    return str(error)


def _from_file(auth: Any, path: str, scopes: tuple[str, ...]) -> tuple[Credentials, str | None]:
    with warnings.catch_warnings():
        # It warns of files from people one does not trust; this one is the user's own.
        warnings.simplefilter("ignore", DeprecationWarning)
        found: tuple[Credentials, str | None] = auth.load_credentials_from_file(
            os.path.expanduser(path), scopes=scopes
        )
        return found
