"""Requests that say that their sender pays for them, as the owners of some buckets of S3 require."""

from __future__ import annotations

from typing import Any

PAYER_HEADER, PAYER = "x-amz-request-payer", "requester"


def make_requester_pay(client: Any) -> None:
    """Has a client of botocore say it with each request that may say it, and in each URL that it signs."""
    client.meta.events.register("provide-client-params.s3", _with_payer)
    client.meta.events.register("before-sign.s3", _payer_in_query)


def _with_payer(params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any] | None:
    members = model.input_shape.members if model.input_shape is not None else {}
    return {**params, "RequestPayer": PAYER} if "RequestPayer" in members else None


def _payer_in_query(request: Any, signature_version: str, **_: Any) -> None:
    """A browser that follows a signed URL sends no header of its own, and S3 takes a parameter as well."""
    if not str(signature_version).endswith(("-query", "presign-url")) or PAYER_HEADER not in request.headers:
        return
    del request.headers[PAYER_HEADER]
    request.params = {**(request.params or {}), PAYER_HEADER: PAYER}
