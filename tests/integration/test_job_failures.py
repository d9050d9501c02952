"""A job in which some samples fail: each is told with its reason, and only those are tried again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.workers import worker

TOTAL, MISSING, FORBIDDEN = 2000, 20, 20
NO_SUCH_OBJECT = "no such object (404 Not Found: NoSuchKey)"
DENIED = (
    "access denied (403 Forbidden: AccessDenied) with the AWS credentials in the environment; "
    "check that they may read it"
)


@contextlib.contextmanager
def dispatched_by(dispatch: str, make_cache: MakeCache) -> Iterator[None]:
    if dispatch == "fleet":
        with worker(make_cache(dispatch="fleet")):
            yield
    else:
        yield


@pytest.mark.parametrize("dispatch", ["local", "fleet"])
def test_of_2000_samples_40_fail_and_only_those_are_tried_again(
    forebay: Forebay,
    make_cache: MakeCache,
    s3_server: S3Server,
    s3_bucket: str,
    proxied: Proxy,
    dispatch: str,
) -> None:
    # Given 1,980 objects, 20 of which may not be read, and the names of 20 that do not exist
    names = [f"{n:04}.bin" for n in range(TOTAL)]
    missing, forbidden = names[::100], names[50::100]
    s3_server.put_many(s3_bucket, {name: name.encode() for name in names if name not in missing})
    for name in forbidden:
        proxied.fault(f"/{s3_bucket}/{name}", Fault.s3(403, "AccessDenied"))
    manifest = "".join(f"s3://{s3_bucket}/{name}\n" for name in names)
    forebay.settings["dispatch"] = dispatch

    with dispatched_by(dispatch, make_cache):
        # When all 2,000 are prefetched
        done = forebay("prefetch", "-", "--json", input=manifest)

        # Then 1,960 are cached, and 40 have failed, each with its reason
        job = done.json
        assert done.status == 1
        assert job["dispatch"] == dispatch
        assert (job["total"], job["downloaded"], job["failed"]) == (TOTAL, TOTAL - MISSING - FORBIDDEN, 40)
        assert forebay("stats", "--json").json["current_count"] == TOTAL - MISSING - FORBIDDEN
        expected = {f"s3://{s3_bucket}/{name}": NO_SUCH_OBJECT for name in missing}
        expected |= {f"s3://{s3_bucket}/{name}": DENIED for name in forbidden}
        assert {failure["uri"]: failure["reason"] for failure in job["failures"]} == expected
        assert {failure["attempts"] for failure in job["failures"]} == {1}

        # When the job is retried
        proxied_before = len(proxied.requests)
        again = forebay("job", job["id"], "--retry", "--json")

        # Then those 40 were asked for, once each, and nothing else
        assert (again.status, again.json["failed"]) == (1, 40)
        paths = [request.path for request in proxied.requests[proxied_before:]]
        assert sorted(paths) == sorted(f"/{s3_bucket}/{name}" for name in (*missing, *forbidden))

        # When their reasons are gone, and it is retried once more
        s3_server.put_many(s3_bucket, {name: name.encode() for name in missing})
        proxied.reset()
        last = forebay("job", job["id"], "--retry", "--json")

        # Then all of it is there
        assert last.status == 0
        assert (last.json["downloaded"], last.json["failed"], last.json["failures"]) == (TOTAL, 0, [])
        assert proxied.count() == 40
        assert forebay("verify", "-", "--json", input=manifest).json["cached"] == TOTAL
