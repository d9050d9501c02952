"""Messages of a volume's queue: a good one, and every way to spoil it."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]


def message(job: str = "0123456789ab", number: Any = 0) -> Message:
    """A message as Celery sends ours."""
    embedded = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
    task = "7f7c3c1e-93f5-4c5e-8d6e-0d4f6f2f9f10"
    return {
        "body": encoded([[], {"job": job, "message": number}, embedded]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": "forebay.fetch",
            "id": task,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 1,
            "timelimit": [None, None],
            "root_id": task,
            "parent_id": None,
            "argsrepr": "2 samples of s3://photos",
            "kwargsrepr": "{'job': '…'}",
            "origin": "gen1@host",
            "ignore_result": True,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
            "forebay_enqueued": 1.7e9,
        },
        "properties": {
            "correlation_id": task,
            "reply_to": "0b1f",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "forebay.default"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "a6d4a6b2-92be-4f0a-8a4e-1f9b3d3f8a55",
        },
    }


def encoded(value: Any) -> str:
    """A body."""
    return base64.b64encode(json.dumps(value).encode()).decode()


_MISSING = object()


def _changed(path: str, value: Any) -> bytes:
    changed: Any = copy.deepcopy(message())
    *parents, last = path.split("/")
    holder = changed
    for name in parents:
        holder = holder[name]
    if value is _MISSING:
        del holder[last]
    else:
        holder[last] = value
    return json.dumps(changed).encode()


def _arguments(value: Any) -> bytes:
    return _changed("body", encoded(value))


def _edited(edit: Callable[[bytes], bytes]) -> bytes:
    return edit(json.dumps(message()).encode())


_EMBEDDED: dict[str, Any] = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
_GOOD = {"job": "0123456789ab", "message": 0}

BAD_MESSAGES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" ",
    "zeros": b"\0" * 64,
    "not JSON": b"hello",
    "not text": b"\xff\xfe\x80",
    "truncated": _edited(lambda raw: raw[: len(raw) // 2]),
    "last byte missing": _edited(lambda raw: raw[:-1]),
    "twice": _edited(lambda raw: raw * 2),
    "null": b"null",
    "a number": b"1",
    "NaN": b"NaN",
    "a string": b'"x"',
    "a list": b"[]",
    "an empty object": b"{}",
    "deeply nested": b"[" * 50_000 + b"]" * 50_000,
    "huge": _changed("headers/argsrepr", "x" * 1_000_000),
    "without headers": _changed("headers", _MISSING),
    "headers null": _changed("headers", None),
    "headers a list": _changed("headers", []),
    "headers text": _changed("headers", "x"),
    "headers empty": _changed("headers", {}),
    "without properties": _changed("properties", _MISSING),
    "properties null": _changed("properties", None),
    "properties a list": _changed("properties", [1]),
    "properties empty": _changed("properties", {}),
    "without delivery tag": _changed("properties/delivery_tag", _MISSING),
    "delivery tag null": _changed("properties/delivery_tag", None),
    "delivery tag a list": _changed("properties/delivery_tag", [1]),
    "delivery tag an object": _changed("properties/delivery_tag", {"a": 1}),
    "without delivery info": _changed("properties/delivery_info", _MISSING),
    "delivery info null": _changed("properties/delivery_info", None),
    "delivery info empty": _changed("properties/delivery_info", {}),
    "delivery info text": _changed("properties/delivery_info", "x"),
    "routing key an object": _changed("properties/delivery_info/routing_key", {}),
    "body encoding unknown": _changed("properties/body_encoding", "rot13"),
    "body encoding a number": _changed("properties/body_encoding", 1),
    "without body": _changed("body", _MISSING),
    "body null": _changed("body", None),
    "body an object": _changed("body", {"a": 1}),
    "body no base64": _changed("body", "%%%"),
    "body no JSON": _changed("body", base64.b64encode(b"hello").decode()),
    "body not text": _changed("body", base64.b64encode(b"\xff\xfe").decode()),
    "body empty": _changed("body", ""),
    "body a number": _arguments(1),
    "body an empty list": _arguments([]),
    "body of protocol 1": _arguments({"task": "forebay.fetch", "id": "x", "args": [], "kwargs": _GOOD}),
    "no arguments": _arguments([[], {}, _EMBEDDED]),
    "arguments by position": _arguments([["0123456789ab", 0], {}, _EMBEDDED]),
    "arguments a list": _arguments([[], [], _EMBEDDED]),
    "an argument too many": _arguments([[], _GOOD | {"x": 1}, _EMBEDDED]),
    "job a number": _arguments([[], {"job": 1, "message": 0}, _EMBEDDED]),
    "job a path": _arguments([[], {"job": "../../x", "message": 0}, _EMBEDDED]),
    "job too long": _arguments([[], {"job": "x" * 5000, "message": 0}, _EMBEDDED]),
    "message negative": _arguments([[], {"job": "x", "message": -1}, _EMBEDDED]),
    "message text": _arguments([[], {"job": "x", "message": "0"}, _EMBEDDED]),
    "message true": _arguments([[], {"job": "x", "message": True}, _EMBEDDED]),
    "message infinite": _arguments([[], {"job": "x", "message": float("inf")}, _EMBEDDED]),
    "message huge": _arguments([[], {"job": "x", "message": 10**400}, _EMBEDDED]),
    "callbacks": _arguments([[], _GOOD, _EMBEDDED | {"callbacks": [{"task": "os.system"}]}]),
    "embedded a list": _arguments([[], _GOOD, []]),
    "task unknown": _changed("headers/task", "os.system"),
    "task a list": _changed("headers/task", []),
    "task null": _changed("headers/task", None),
    "without task": _changed("headers/task", _MISSING),
    "without id": _changed("headers/id", _MISSING),
    "id a list": _changed("headers/id", [1]),
    "id an object": _changed("headers/id", {"a": 1}),
    "id null": _changed("headers/id", None),
    "ETA of the year 9999": _changed("headers/eta", "9999-12-31T23:59:59.999999+00:00"),
    "ETA of the year 1": _changed("headers/eta", "0001-01-01T00:00:00"),
    "ETA no time": _changed("headers/eta", "soon"),
    "ETA a number": _changed("headers/eta", 1e300),
    "expires no time": _changed("headers/expires", "soon"),
    "expires an object": _changed("headers/expires", {}),
    "time limit text": _changed("headers/timelimit", "x"),
    "time limit set": _changed("headers/timelimit", [1, 1]),
    "group an object": _changed("headers/group", {}),
    "shadow an object": _changed("headers/shadow", {"a": []}),
    "compression unknown": _changed("headers/compression", "zip of death"),
    "content type pickle": _changed("content-type", "application/x-python-serialize"),
    "content type unknown": _changed("content-type", "image/jpeg"),
    "content type null": _changed("content-type", None),
    "content type a list": _changed("content-type", []),
    "content encoding unknown": _changed("content-encoding", "utf-99"),
    "content encoding a list": _changed("content-encoding", []),
}
