"""What workers take from the queue: messages as `forebay.jobs.fleet` sends them, and nothing else.

Celery trusts what it finds in a queue: a message without headers, or with an id that is a list, ends its
worker. Therefore each message is read here first, and only what was read goes on, written anew. What cannot
be read is set aside: it leaves the queue, is kept in a list of Redis for the user who looks for its sender,
is named in the log, and counted.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from contextlib import closing
from typing import Any

from forebay.errors import ForebayError
from forebay.index.connection import Connection
from forebay.index.queues import set_aside
from forebay.jobs.celery_app import KEY_PREFIX
from forebay.jobs.fleet import ENQUEUED, TASK
from forebay.volume.counters import Counters

log = logging.getLogger(__name__)

_NAME = re.compile(r"[\w.:-]{1,100}", re.ASCII)
# Celery itself writes them; where they say otherwise, the message is for another kind of worker.
_UNSET = ("eta", "expires", "group", "shadow", "compression")
_MAX_BYTES = 1 << 16
_MAX_SHOWN = 1000
_MAX_NUMBER = 1 << 53
_MAX_PRIORITY = 9


class BadMessageError(Exception):
    """A message is not one of ours; the text says why, and repeats nothing of it that may be secret."""


def reread(raw: bytes) -> bytes:
    """A message of the queue, written anew from what a worker needs of it.

    Raises:
        BadMessageError: it is none that Forebay sends.
    """
    message = _object(_parsed(raw, "it"), "it")
    headers = _object(message.get("headers"), "its headers")
    properties = _object(message.get("properties"), "its properties")
    if headers.get("task") != TASK:
        raise BadMessageError("it names another task than forebay.fetch")
    if message.get("content-type") != "application/json":
        raise BadMessageError("its content type is not application/json")
    if message.get("content-encoding") != "utf-8":
        raise BadMessageError("its content encoding is not utf-8")
    for name in _UNSET:
        if headers.get(name) is not None:
            raise BadMessageError(f"its header {name} is set")
    if headers.get("timelimit") not in (None, [None, None]):
        raise BadMessageError("its header timelimit is set")
    task = _name(headers.get("id"), "its id")
    job, number = _arguments(message.get("body"), properties)
    begun = headers.get("retries")
    enqueued = headers.get(ENQUEUED)
    known = {
        "lang": "py",
        "task": TASK,
        "id": task,
        "root_id": task,
        # What a worker sends names the task that sent it, which is of no use.
        "parent_id": None,
        "retries": begun if _is_number(begun) else 0,
        "timelimit": [None, None],
        "argsrepr": _text(headers.get("argsrepr")),
        "kwargsrepr": _text(headers.get("kwargsrepr")),
        "origin": _text(headers.get("origin")),
        "ignore_result": True,
        **dict.fromkeys(_UNSET[:-1]),
        **({ENQUEUED: enqueued} if isinstance(enqueued, float | int) else {}),
        **({"redelivered": True} if headers.get("redelivered") is True else {}),
    }
    return json.dumps(
        {
            "body": _encoded([[], {"job": job, "message": number}, _EMBEDDED]),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": known,
            "properties": {
                "correlation_id": task,
                "delivery_mode": 2,
                "delivery_tag": _name(properties.get("delivery_tag"), "its delivery tag"),
                "delivery_info": _delivery(properties.get("delivery_info")),
                "priority": _priority(properties.get("priority")),
                "body_encoding": "base64",
            },
        }
    ).encode()


def check_stored(raw: bytes | str | None) -> None:
    """Checks a message as Celery keeps it until it is acknowledged: with its exchange and queue.

    Raises:
        BadMessageError: it cannot be put back into the queue.
    """
    if raw is None:
        return
    stored = _parsed(raw.encode() if isinstance(raw, str) else raw, "it")
    if not isinstance(stored, list) or len(stored) != 3 or not all(isinstance(x, str) for x in stored[1:]):
        raise BadMessageError("it does not say which queue it is from")
    reread(json.dumps(stored[0]).encode())


class MessageGate:
    """Sets aside what is no message of ours.

    Args:
        url: the broker.
        queue: the volume's queue.
        counters: of this process.
    """

    def __init__(self, url: str, queue: str, counters: Counters) -> None:
        self._url = url
        self._queue = queue
        self._counters = counters

    def admit(self, queue: str, raw: bytes) -> bytes | None:
        """A message that has come out of a queue, in the form that is safe; ``None`` if it was set aside.

        Other queues than the volume's are those of Celery's remote control.
        """
        try:
            if queue == self._queue:
                return reread(raw)
            _object(_parsed(raw, "it"), "it")
        except BadMessageError as error:
            self.set_aside(queue, raw, str(error))
            return None
        return raw

    def set_aside(self, queue: str, raw: bytes | str, reason: str) -> None:
        """Keeps a message that no worker can read, names it in the log, and counts it."""
        self._counters.set_aside()
        text = raw if isinstance(raw, str) else raw.decode(errors="backslashreplace")
        log.error(
            "a message of queue %s was set aside, which is not from Forebay or was damaged: %s "
            "(%d bytes); `forebay doctor` says how to see it",
            queue,
            reason,
            len(raw),
        )
        try:
            with closing(Connection(self._url, patience=0.0, queue=True)) as connection:
                set_aside(connection, KEY_PREFIX + self._queue, text[:_MAX_BYTES], reason)
        except ForebayError as error:
            log.warning("the message that was set aside could not be kept: %s", error)


_EMBEDDED = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))


def _parsed(raw: bytes, what: str) -> Any:
    if len(raw) > _MAX_BYTES:
        raise BadMessageError(f"{what} is longer than {_MAX_BYTES} bytes")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise BadMessageError(f"{what} is no JSON") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadMessageError(f"{what} is no JSON object" if what == "it" else f"{what} are no JSON object")
    return value


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadMessageError(f"{what} is missing or no identifier")
    return value


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MAX_NUMBER


def _text(value: Any) -> str:
    return value[:_MAX_SHOWN] if isinstance(value, str) else ""


def _delivery(value: Any) -> dict[str, str]:
    info = value if isinstance(value, dict) else {}
    exchange, key = info.get("exchange"), info.get("routing_key")
    if not isinstance(exchange, str) or not isinstance(key, str) or not key:
        raise BadMessageError("it does not say which queue it is from")
    return {"exchange": exchange, "routing_key": key}


def _priority(value: Any) -> int:
    """The list of the queue from which it is, and into which it is put back."""
    return value if type(value) is int and 0 <= value <= _MAX_PRIORITY else 0


def _arguments(body: Any, properties: dict[str, Any]) -> tuple[str, int]:
    if not isinstance(body, str):
        raise BadMessageError("its body is no text")
    encoded = body.encode(errors="replace")
    if properties.get("body_encoding") == "base64":
        try:
            encoded = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            raise BadMessageError("its body is no base64") from None
    value = _parsed(encoded, "its body")
    if not isinstance(value, list) or len(value) != 3 or value[0] != []:
        raise BadMessageError("its body is no list of arguments")
    arguments, embedded = value[1], value[2]
    if not isinstance(arguments, dict) or arguments.keys() != {"job", "message"}:
        raise BadMessageError("its arguments are not a job and a message")
    if not isinstance(embedded, dict) or any(embedded.values()):
        raise BadMessageError("it asks for more tasks")
    number = arguments["message"]
    if not _is_number(number):
        raise BadMessageError("its message is no number")
    return _name(arguments["job"], "its job"), int(number)


def _encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()
