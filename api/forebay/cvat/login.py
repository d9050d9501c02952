"""Explaining login errors of FiftyOne's CVAT client, which raises those of requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests

from forebay.config import mask_url
from forebay.cvat.server import PASSWORD_VARIABLE, USER_VARIABLE, reason_in, unreachable
from forebay.errors import CvatError


@contextmanager
def explain_login_errors(url: str) -> Iterator[None]:
    """Turns errors of a login within the block into messages that say what to do.

    Raises:
        CvatError: the server cannot be reached, or does not accept name and password.
    """
    shown = mask_url(url)
    try:
        yield
    except requests.HTTPError as error:
        status, reason = error.response.status_code, reason_in(error.response).rstrip(".")
        if status in (400, 401, 403):
            raise CvatError(
                f"CVAT at {shown} does not accept this username and password: {reason}. They are "
                f"{USER_VARIABLE} and {PASSWORD_VARIABLE}, or the arguments username= and password="
            ) from None
        raise CvatError(
            f"CVAT at {shown} answered the log-in with {status}: {reason}. Is the URL right?"
        ) from None
    except requests.RequestException as error:
        raise unreachable(shown, error) from None
