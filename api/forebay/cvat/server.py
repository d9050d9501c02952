"""A client of a CVAT server's REST API, whose errors say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import requests

from forebay.config import mask_url
from forebay.errors import ConfigError, CvatError, CvatResponseError

URL_VARIABLE = "FIFTYONE_CVAT_URL"
USER_VARIABLE = "FIFTYONE_CVAT_USERNAME"
PASSWORD_VARIABLE = "FIFTYONE_CVAT_PASSWORD"
TOKEN_VARIABLE = "CVAT_ACCESS_TOKEN"
_DEFAULT_URL = "https://app.cvat.ai"
_TIMEOUT_SECONDS = 60.0
_ACCEPT = "application/vnd.cvat+json, application/json"


class CvatServer:
    """A connection to one CVAT server, as one user.

    Args:
        url: for instance ``https://app.cvat.ai``.
        session: carries the credentials.
        verify: whether the server's certificate is checked.
    """

    def __init__(self, url: str, session: requests.Session, *, verify: bool = True) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._verify = verify

    @property
    def masked_url(self) -> str:
        """The URL, with any password in it masked, for messages."""
        return mask_url(self.url)

    @classmethod
    def connect(
        cls,
        url: str | None = None,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        organization: str | None = None,
    ) -> CvatServer:
        """Logs in to a server.

        Arguments that are not given are taken from the environment, from the variables that FiftyOne's
        backend uses: ``FIFTYONE_CVAT_URL`` (by default CVAT's own service), ``FIFTYONE_CVAT_USERNAME`` and
        ``FIFTYONE_CVAT_PASSWORD``, or ``CVAT_ACCESS_TOKEN``.

        Args:
            token: a personal access token, in place of name and password.
            organization: the slug of the organization in which to work.

        Raises:
            ConfigError: there are no credentials.
            CvatError: the server cannot be reached, or does not accept them.
        """
        session = requests.Session()
        session.headers["Accept"] = _ACCEPT
        if organization:
            session.headers["X-Organization"] = organization
        server = cls(url or os.environ.get(URL_VARIABLE) or _DEFAULT_URL, session)
        username = username or os.environ.get(USER_VARIABLE)
        password = password or os.environ.get(PASSWORD_VARIABLE)
        token = token or os.environ.get(TOKEN_VARIABLE)
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        elif username and password:
            server._log_in(username, password)
        else:
            raise ConfigError(
                f"CVAT at {server.masked_url} needs credentials: set {USER_VARIABLE} and "
                f"{PASSWORD_VARIABLE}, or {TOKEN_VARIABLE}"
            )
        return server

    def _log_in(self, username: str, password: str) -> None:
        self.post("/api/auth/login", {"username": username, "password": password})
        # Django requires both headers in every request that changes something.
        self._session.headers["Referer"] = f"{self.url}/"
        if "csrftoken" in self._session.cookies:
            self._session.headers["X-CSRFToken"] = str(self._session.cookies["csrftoken"])

    def get(self, path: str, **query: Any) -> Any:
        """Sends a GET request and returns the decoded JSON.

        Raises:
            CvatResponseError: the server answers with an error.
            CvatError: the server does not answer.
        """
        return self._request("GET", path, params=query)

    def get_all(self, path: str, **query: Any) -> Iterator[Any]:
        """Yields every object of a paginated list.

        Raises:
            CvatError: as `get`.
        """
        page = 1
        while True:
            answer = self.get(path, **query, page=page)
            yield from answer["results"]
            if not answer.get("next"):
                return
            page += 1

    def post(self, path: str, body: dict[str, Any], files: dict[str, Any] | None = None) -> Any:
        """Sends a POST request; ``body`` is sent as JSON, or with files as a form.

        Raises:
            CvatError: as `get`.
        """
        return (
            self._request("POST", path, data=body, files=files)
            if files
            else self._request("POST", path, json=body)
        )

    def delete(self, path: str) -> None:
        """Sends a DELETE request; a missing object is no error.

        Raises:
            CvatError: as `get`.
        """
        try:
            self._request("DELETE", path)
        except CvatResponseError as error:
            if error.status != 404:
                raise

    def _request(self, method: str, path: str, **arguments: Any) -> Any:
        shown = self.masked_url
        try:
            response = self._session.request(
                method, self.url + path, timeout=_TIMEOUT_SECONDS, verify=self._verify, **arguments
            )
        except requests.Timeout:
            raise CvatError(f"CVAT at {shown} does not answer within {_TIMEOUT_SECONDS:.0f} s") from None
        except requests.RequestException as error:
            raise unreachable(shown, error) from None
        if not response.ok:
            raise self._error(method, path, response)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise CvatError(
                f"what answers at {shown} is not CVAT: its answer to {method} {path} is no JSON"
            ) from None

    def _error(self, method: str, path: str, response: requests.Response) -> CvatResponseError:
        shown, status, detail = self.masked_url, response.status_code, reason_in(response)
        if path == "/api/auth/login" and status in (400, 401, 403):
            text = f"CVAT at {shown} does not accept this username and password: {detail}"
        elif status == 401:
            text = f"CVAT at {shown} does not accept these credentials: {detail}"
        elif status == 403:
            text = f"CVAT at {shown} does not let this user do that ({method} {path}): {detail}"
        else:
            text = f"CVAT at {shown} answered {method} {path} with {status}: {detail}"
        return CvatResponseError(text, status, detail)


def unreachable(shown: str, error: requests.RequestException) -> CvatError:
    """The error for a server that did not answer a request."""
    return CvatError(
        f"CVAT cannot be reached at {shown} ({type(error).__name__}): is the URL right, and the server up?"
    )


def reason_in(response: requests.Response) -> str:
    """CVAT's own explanation in an error response, in one line; without one, the reason of the status."""
    try:
        value = response.json()
    except ValueError:
        # CVAT says text/html of plain text, too; only a page of its web server or of a proxy is one.
        text = "" if response.text.lstrip("\ufeff \t\r\n").startswith("<") else response.text
    else:
        text = _flat(value)
    text = " ".join(text.split())
    return (text if len(text) <= 300 else f"{text[:300]}…") or response.reason or "nothing more"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        generic = {"detail", "non_field_errors", "message"}
        return "; ".join(
            _flat(each) if name in generic else f"{name}: {_flat(each)}" for name, each in value.items()
        )
    if isinstance(value, list):
        return "; ".join(map(_flat, value))
    return str(value)
