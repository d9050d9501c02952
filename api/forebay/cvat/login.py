"""Logging in by somebody else's client, whose errors are those of requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests

from forebay.config import mask_url
from forebay.cvat.errors import CvatError
from forebay.cvat.server import PASSWORD_VARIABLE, USER_VARIABLE


@contextmanager
def in_plain_words(url: str) -> Iterator[None]:
    """Says what is wrong when a log-in fails.

    Raises:
        CvatError: the server cannot be reached, or does not accept name and password.
    """
    shown = mask_url(url)
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code
        if status in (400, 401, 403):
            raise CvatError(
                f"CVAT at {shown} does not accept this username and password; they are {USER_VARIABLE} and "
                f"{PASSWORD_VARIABLE}, or the arguments username= and password="
            ) from None
        raise CvatError(f"CVAT at {shown} answered the log-in with {status}: is the URL right?") from None
    except requests.RequestException as error:
        raise CvatError(
            f"CVAT cannot be reached at {shown} ({type(error).__name__}): is the URL right, and the "
            f"server up?"
        ) from None
