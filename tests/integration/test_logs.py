"""The logs of workers and of the command line, as lines and as JSON."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.caches import MakeCache
from tests.commands import Forebay, ended
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.seaweedfs import S3Server
from tests.servers.workers import worker

pytestmark = pytest.mark.usefixtures("s3_environment")


def lines(text: str) -> list[dict[str, Any]]:
    """JSON lines; nothing else may be there."""
    print(text)
    return [json.loads(line) for line in text.splitlines()]


def test_a_workers_lines_say_which_job_and_sample(
    make_cache: MakeCache, forebay: Forebay, s3_bucket: str
) -> None:
    # Given a worker that logs JSON, and a job of which a sample fails
    cache = make_cache(dispatch="fleet")
    missing = f"s3://{s3_bucket}/missing"
    with forebay.started("worker", "--log-format", "json", "-v") as process:
        eventually(cache.engine.open_index().workers.all, 60)
        job = cache.download_media([missing])
        process.send_signal(signal.SIGINT)
        done = ended(process)

    # Then every line is JSON, also what the command itself says,
    found = lines(done.err)
    assert any("is ready: volume default at " in line["message"] for line in found)
    # the failure bears job and sample,
    [failure] = [line for line in found if line.get("sample")]
    assert (failure["sample"], failure["job"], failure["level"]) == (missing, job.id, "warning")
    assert "no such object" in failure["message"]
    # and so does, as far as it can, what Celery says of the task.
    assert [line for line in found if line["logger"] == "celery.app.trace" and line["job"] == job.id]


def test_as_lines(make_cache: MakeCache, forebay: Forebay, s3_bucket: str) -> None:
    cache = make_cache(dispatch="fleet")
    with forebay.started("worker") as process:
        eventually(cache.engine.open_index().workers.all, 60)
        job = cache.download_media([f"s3://{s3_bucket}/missing"])
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert f"WARNING  [job {job.id}] s3://{s3_bucket}/missing: no such object" in done.err


def test_a_worker_that_plain_celery_starts(make_cache: MakeCache, s3_bucket: str) -> None:
    cache = make_cache(dispatch="fleet", log_format="json")
    with worker(cache) as process:
        job = cache.download_media([f"s3://{s3_bucket}/missing"])
        found = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
    assert [line["job"] for line in found if line.get("sample")] == [job.id]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_plain_celery_logs_no_secret_however_much_it_logs(
    make_cache: MakeCache, http_server: HTTPServer, log_format: str
) -> None:
    # Given a worker of plain Celery at its highest verbosity, and a package that logs requests as they are
    cache = make_cache(dispatch="fleet", log_format=log_format, allowed_sources=[http_server.endpoint + "/"])
    secret = "cAnArY7f3e"
    uri = http_server.put("/a.jpg", b"pixels")
    with worker(cache, "--loglevel", "DEBUG", "--include", "tests.servers.talkative") as process:
        # When it downloads a URL with a signature, and fails with another
        cache.download_media([f"{uri}?X-Amz-Signature={secret}", f"{uri}.no?sig={secret}"])
        log = process.log.read_text()

    # Then its log has these lines, and no signature.
    assert "no such object" in log
    assert "GET /talkative?Signature=" in log
    assert secret not in log


def test_the_command_line(forebay: Forebay, s3_server: S3Server, s3_bucket: str) -> None:
    uri = s3_server.put(s3_bucket, "a", b"x")

    done = forebay("prefetch", uri, f"s3://{s3_bucket}/missing", "--log-format", "json", "-v", "--json")

    # stdout is the result, stderr a log for programs
    assert done.json["failed"] == 1
    found = lines(done.err)
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in found)
    made = next(line for line in found if line["message"].endswith(" by local dispatch"))
    assert (made["job"], made["level"]) == (done.json["id"], "info")


def test_failures_of_a_job_bear_job_and_sample(forebay: Forebay, s3_bucket: str) -> None:
    missing = f"s3://{s3_bucket}/missing.jpg"

    done = forebay("prefetch", missing, log_format="json")

    introduction, failure, retry = lines(done.err)
    assert introduction["message"].startswith(f"job {introduction['job']}: 1 sample")
    assert (failure["level"], failure["job"], failure["sample"]) == ("warning", introduction["job"], missing)
    assert failure["message"].startswith(f"failed: {missing}: no such object")
    assert (retry["level"], retry["job"]) == ("info", introduction["job"])
    assert "sample" not in retry

    # and so they do later
    [again, _] = lines(forebay("job", failure["job"], log_format="json").err)
    assert (again["job"], again["sample"]) == (failure["job"], missing)


def test_errors_and_warnings_too(forebay: Forebay) -> None:
    done = forebay("nope", log_format="json")
    assert (done.status, [line["level"] for line in lines(done.err)]) == (2, ["error", "info"])
    done = forebay("prefetch", "s3://", log_format="json")
    assert done.status == 2
    [line] = lines(done.err)
    assert line["level"] == "error"
    done = forebay("stats", "--log-format", "xml")
    assert done.status == 2
    assert "error: setting log_format='xml' is not allowed" in done.err


def test_no_secret_however_much_is_logged(forebay: Forebay, s3_server: S3Server, s3_bucket: str) -> None:
    uri = s3_server.put(s3_bucket, "a", b"x")
    done = forebay("prefetch", uri, "https://127.0.0.1/a?X-Amz-Signature=hidden", "-vv")
    assert s3_server.secret_key not in done.err
    assert "hidden" not in done.err
    assert "AWS4-HMAC" not in done.err
