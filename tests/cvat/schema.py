"""CVAT's own OpenAPI document, against which every request and every answer is checked.

It is beside the repository; without it, the stand-in checks what its code checks and no more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError

PATH = Path(__file__).resolve().parents[3] / "shared" / "cvat" / "schema.yml"
_HOST = "http://cvat"
_MEDIA_TYPE = "application/vnd.cvat+json"
# CVAT takes these with a slash at their end and without; its document has the slash.
_WITH_SLASH = re.compile(r"/api/(tasks|jobs)/\d+/(data|annotations)\Z")


@cache
def schema() -> OpenAPI | None:
    """The document; ``None`` where it is not."""
    if not PATH.exists():
        return None
    document = yaml.load(PATH.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return OpenAPI.from_dict(
        document, config=Config(extra_media_type_deserializers={_MEDIA_TYPE: json.loads})
    )


@dataclass
class Exchange:
    """One request and its answer, as openapi-core wants to see them.

    Attributes:
        checked_body: the fields of a form, as JSON, which is what is checked of it.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes | None
    content_type: str
    status: int = 0
    answer: bytes | None = None
    answer_type: str = _MEDIA_TYPE
    checked_body: bytes | None = None
    parameters: Any = field(init=False)

    host_url = _HOST

    def __post_init__(self) -> None:
        from openapi_core.datatypes import RequestParameters
        from werkzeug.datastructures import Headers, ImmutableMultiDict

        cookies = SimpleCookie(self.headers.get("Cookie"))
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(self.query),
            header=Headers(dict(self.headers)),
            cookie=ImmutableMultiDict({name: morsel.value for name, morsel in cookies.items()}),
        )
        if _WITH_SLASH.match(self.path):
            self.path += "/"

    def problem(self) -> str | None:
        """The parts of a request that CVAT's API document does not allow."""
        checked = self
        if self.checked_body is not None:
            checked = replace(self, body=self.checked_body, content_type="application/json")
        return self._problem(lambda known: known.validate_request(checked))

    def problem_of_answer(self) -> str | None:
        """The parts of a response that CVAT's API document does not allow."""
        return self._problem(lambda known: known.validate_response(self, _Answer(self)))

    def _problem(self, validate: Any) -> str | None:
        known = schema()
        if known is None:
            return None
        try:
            validate(known)
        except OpenAPIError as error:
            causes = [str(error)]
            while error.__cause__ is not None:
                error = error.__cause__  # type: ignore[assignment]
                causes.append(str(getattr(error, "schema_errors", "") or error))
            return f"{self.method} {self.path}: " + " / ".join(causes)
        return None


class _Answer:
    def __init__(self, exchange: Exchange) -> None:
        from werkzeug.datastructures import Headers

        self.data = exchange.answer
        self.status_code = exchange.status
        self.content_type = exchange.answer_type
        self.headers = Headers({"Content-Type": exchange.answer_type})
