"""Figures in the prose of the pages are those of the code.

`FIGURES` is the table: for each page the sentences that state a figure, each with the constant or setting
that the figure must equal. A row fails when the constant changes or moves, and when the sentence is
rewritten. Measured figures have no constant: they are stated in ``docs/benchmarks.md``, those of storms in
``docs/reliability.md``.
"""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from forebay.config import MediaCacheConfig

REPOSITORY = Path(__file__).resolve().parents[2]
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
MINUTE, HOUR, DAY = 60, 3600, 86400

# The constants that several pages state.
SHUTDOWN = "forebay.jobs.celery_app:DRAIN_SECONDS+SOFT_SHUTDOWN_SECONDS"
STALL = "forebay.jobs.monitor:STALL_SECONDS"
STUCK = "forebay.jobs.dispatcher:STUCK_SECONDS"
ALIVE = "forebay.index.workers:ALIVE_SECONDS"
GONE = "forebay.index.workers:GONE_SECONDS"
PATIENCE = "forebay.index.connection:PATIENCE_SECONDS"
SAS_HOURS = r"file:api/forebay/sources/azure_sas.py:_LASTS = timedelta\(hours=(\d+)\)"
BREAKER_FAILURES = "forebay.sources.circuit_breaker:_FAILURES_TO_OPEN"
BREAKER_PAUSE = "forebay.sources.circuit_breaker:_OPEN_SECONDS"
WORKER_IN_COMPOSE = r"file:compose.yaml:forebay_worker\.health"

# Sentence, constant, unit; `value_of` says how a constant is written. The sentence is a regular expression
# in which a space matches a line break, too; its group is the figure.
FIGURES: dict[str, list[tuple[str, str, float]]] = {
    "docs/life-of-a-sample.md": [
        (r"claims up to (\S+) objects", "forebay.fetch.run:BATCH", 1),
        (r"commits up to (\S+) downloads", "forebay.fetch.run:BATCH", 1),
        (r"when (\S+) s have passed since the last commit", "forebay.fetch.run:FLUSH_SECONDS", 1),
        (r"A body up to (\S+) KiB is gathered", "forebay.fetch.object_sink:_GATHERED_BYTES", KIB),
        (r"takes longer than (\S+) ms on", "forebay.fetch.file_work:SLOW_SECONDS", 0.001),
        (r"up to (\S+) other threads do", "forebay.fetch.file_work:_THREADS", 1),
        (r"claimed again, at most (\S+) times", "forebay.fetch.run:_MAX_LOST_CLAIMS", 1),
        (r"`claim_ttl_seconds` \((\S+) s\)", "setting:claim_ttl_seconds", 1),
        (r"Each call is repeated for (\S+) s", PATIENCE, 1),
    ],
    "docs/neighbours.md": [
        (r"else after (\S+) s without a heartbeat", "forebay.index.groups:LIVES_SECONDS", 1),
        (
            r"sends nothing for (\S+) s",
            r"file:api/forebay/neighbours/neighbour_source.py:idle_seconds=(\d+)\.0, min",
            1,
        ),
        (
            r"less than (\S+) KiB/s",
            r"file:api/forebay/neighbours/neighbour_source.py:min_rate=(\d+) << 10",
            1,
        ),
        (r"left alone for (\S+) s", "forebay.neighbours.neighbourhood:_DOWN_SECONDS", 1),
        (r"nothing arrives there for (\S+) s", "forebay.neighbours.asking_turns:PATIENCE_SECONDS", 1),
    ],
    "docs/api.md": [
        (r"takes more than (\S+) ms on the average", "forebay.aio.calls:SLOW_SECONDS", 0.001),
        (r"then up to (\S+) threads do", "forebay.aio.calls:_THREADS", 1),
        (r"has its first (\S+) lines", "forebay.tables:MAX_ROWS", 1),
    ],
    "docs/pytorch.md": [
        (r"twice `download_size_bytes` \((\S+) MiB\)", "setting:download_size_bytes", MIB),
        (
            r"takes its place, of at most (\S+);",
            r"file:api/forebay/torch/media_dataset.py:_REPLACEMENTS = (\d+)",
            1,
        ),
    ],
    "docs/large-objects.md": [
        (r"has less than (\S+) MiB", "forebay.parts.versions:WHOLE_BYTES", 1 << 20),
        (r"in \*blocks\* of (\S+) MiB", "forebay.uri.blocks:BLOCK_BYTES", 1 << 20),
        (r"gets up to (\S+) blocks ahead", "forebay.parts.pattern:MOST", 1),
        (r"gets up to (\S+) of those steps", "forebay.parts.pattern:_MOST_IN_STEPS", 1),
    ],
    "docs/kubernetes.md": [
        (r"running downloads for up to (\S+) s", SHUTDOWN, 1),
        (r"A worker uses (\S+) s", SHUTDOWN, 1),
        (r"instead of (\S+) s, so that", "setting:claim_ttl_seconds", 1),
        (
            r"expires after (\S+) s instead",
            r'file:docker/kubernetes/overlays/spot/kustomization.yaml:CLAIM_TTL_SECONDS, value: "(\d+)"',
            1,
        ),
        (
            r"gives workers (\S+) s to end",
            r"file:docker/kubernetes/overlays/spot/kustomization.yaml:GracePeriodSeconds, value: (\d+)",
            1,
        ),
        (
            r"`node-cache` gives (\S+) s",
            r"file:docker/kubernetes/base/workers.yaml:terminationGracePeriodSeconds: (\d+)",
            1,
        ),
    ],
    "docs/reliability.md": [
        (r"what the (\S+) objects of the source", r"file:tests/chaos/storm.py:\nOBJECTS = (\d+)", 1),
    ],
    "docs/manifests.md": [
        (r"begins with (\S+) bad rows", "forebay.manifests.rows:PART_ROWS", 1),
        (r"while more than (\S+) are pending, reading waits", "forebay.jobs.creation:_SAMPLES_AHEAD", 1),
    ],
    "docs/jobs-and-dispatch.md": [
        (r"up to (\S+) samples to fetch: 1 sample", "forebay.jobs.message_size:SINGLES", 1),
        (r"leaves (\S+) messages for each worker thread", "forebay.jobs.message_size:SHARE", 1),
        (r"at most (\S+) samples a message", "forebay.jobs.message_size:MAX_MESSAGE_SIZE", 1),
        (r"a message has at most (\S+) samples", "forebay.jobs.message_size:MAX_MESSAGE_SIZE", 1),
        (r"`max_requests` \((\S+)\) in flight", "setting:max_requests", 1),
        (r"a job of (\S+) samples or more is divided", "forebay.jobs.helpers:SAMPLES", 1),
        (r"one for each (\S+) samples", "forebay.jobs.helpers:SAMPLES", 1),
        (r"one for each CPU, and (\S+) at most", "forebay.jobs.helpers:MAX_PROCESSES", 1),
        (r"begins to fetch with the first (\S+) objects", "forebay.jobs.listed_samples:FIRST_SAMPLES", 1),
        (r"one message at a time, for at most (\S+) minutes", "forebay_worker.tasks:_BUDGET_SECONDS", MINUTE),
        (r"sends a heartbeat every (\S+) s", "forebay_worker.presence:_HEARTBEAT_SECONDS", 1),
        (r"monitor of each worker \(every (\S+) s\)", "forebay_worker.presence:_HEARTBEAT_SECONDS", 1),
        (r"counts as alive for (\S+) s", ALIVE, 1),
        (r"has begun or ended a message for (\S+) s", STUCK, 1),
        (r"for (\S+) s with an empty queue", STALL, 1),
        (r"for (\S+) s while other messages wait", STALL, 0.1),
        (r"monitor notices a loss after (\S+) s", STALL, 1),
        (r"`worker_timeout_seconds` \((\S+) s\)", "setting:worker_timeout_seconds", 1),
        (r"`job_ttl_seconds` \((\S+) days\)", "setting:job_ttl_seconds", DAY),
        (r"calls are repeated for (\S+) s", PATIENCE, 1),
        (r"workers began a message (\S+) times", "forebay_worker.tasks:_MAX_MESSAGE_ATTEMPTS", 1),
        (r"ends a worker (\S+) times", "forebay_worker.tasks:_MAX_SAMPLE_ATTEMPTS", 1),
        (r"visibility timeout \| (\S+) hour", "forebay.jobs.celery_app:_VISIBILITY_SECONDS", HOUR),
        (r"shutdown \| (\S+) s in all", SHUTDOWN, 1),
    ],
    "docs/eviction-and-leases.md": [
        (r"`grace_seconds` \((\S+) s\) after each use", "setting:grace_seconds", 1),
        (r"when nothing has changed for (\S+) s", "forebay.eviction.room:_PATIENCE_SECONDS", 1),
        (r"index and disk, within (\S+) hours", "forebay.volume.maintenance:_SWEEP_SECONDS", HOUR),
    ],
    "docs/index-keys-and-scripts.md": [
        (r"blocks of up to (\S+) MiB", "forebay.volume.reservation:_MAX_BLOCK", MIB),
        (r"handles up to (\S+) entries", "forebay.index.records:BATCH", 1),
        (r"entries \(leases: (\S+)\) in a call", "forebay.index.lease_records:_BATCH", 1),
        (r"in slots of (\S+) seconds", r"file:api/forebay/index/counters_add.lua:'TIME'\)\[1\]\) / (\d+)", 1),
        (
            r"last request to add to them; for (\S+) minutes",
            r"file:api/forebay/index/counters_add.lua:'EX', (\d+)",
            MINUTE,
        ),
    ],
    "docs/embedded-and-shared-redis.md": [
        (r"no process has been connected for (\S+) s", "forebay.embedded._start:IDLE_SECONDS", 1),
        (r"Valkey stops (\S+) s after its last client", "forebay.embedded._start:BRIEF_SECONDS", 1),
        (r"message says \(up to (\S+) s\)", "forebay.embedded._machine_lease:FAR_SECONDS", 1),
        (r"Calls are repeated for (\S+) s", PATIENCE, 1),
    ],
    "docs/sources.md": [
        (r"follows up to (\S+) redirects", "forebay.transport.redirects:MAX_REDIRECTS", 1),
        (r"2 × `range_size_bytes` \((\S+) MiB\)", "setting:range_size_bytes", MIB / 2),
        (r"a segment of more than (\S+) bytes", "forebay.uri.entry:MAX_SEGMENT_BYTES", 1),
        (r"a key of more than (\S+) escaped bytes", "forebay.uri.entry:_MAX_KEY_BYTES", 1),
        (
            r"page by page, (\S+) objects in each",
            r"file:api/forebay/sources/listings/gcs_pages.py:max_keys or (\d+)",
            1,
        ),
        (r"large folders \((\S+) objects", "forebay.sources.listings.walk:_LEAST_KEYS_IN_FOLDER", 1),
        (r"(\S+) pages at a time", "forebay.manifests.listing:_MAX_IN_FLIGHT", 1),
        (r"read and list it for (\S+) hours", SAS_HOURS, 1),
        (r"is renewed after (\S+);", "forebay.sources.azure_sas:_RENEWED_AFTER_SECONDS", HOUR),
        (r"A signed URL lasts up to (\S+) days", "forebay.sources.azure_sas:LONGEST_SECONDS", DAY),
    ],
    "docs/operating.md": [
        (r"it ends within (\S+) s", SHUTDOWN, 1),
        (r"Plan (\S+) bytes for each cached object", r"file:bench/rows/index.py:memory, (\d+), \"", 1),
        (
            r"and (\S+) bytes for each sample of a job",
            r"file:docs/benchmarks.md:about (\d+) bytes for each of its samples",
            1,
        ),
        (
            r"running downloads for at most (\S+) s",
            SHUTDOWN,
            1,
        ),
        (r"kills those that still run after (\S+) s", "forebay_worker.line:STOP_SECONDS", 1),
        (r"at (\S+) MiB for each process", "forebay.capacity:WORKER_BYTES", MIB),
        (r"starts it again after (\S+) s", "forebay_worker.place:FIRST_PAUSE_SECONDS", 1),
        (r"and so on, up to (\S+) s", "forebay_worker.place:MAX_PAUSE_SECONDS", 1),
        (r"After (\S+) s of work", "forebay_worker.place:STEADY_SECONDS", 1),
        (r"a worker ends (\S+) times in a row", "forebay_worker.supervisor:MAX_FAILED_STARTS", 1),
        (r"enqueues its samples again after (\S+) s", STALL, 1),
        (r"calls are repeated for (\S+) s", PATIENCE, 1),
        (r"reported for (\S+) minutes", GONE, MINUTE),
        (r"progress_age_seconds > (\S+)", STUCK, 1),
    ],
    "docs/compose.md": [
        (r"has sent a heartbeat for (\S+) s", ALIVE, 1),
        (r"sent no heartbeat for (\S+) s", ALIVE, 1),
        (r"begun or ended none of them for (\S+) s", STUCK, 1),
        (r"needs at most (\S+) s", SHUTDOWN, 1),
        (r"the (\S+) s without progress", STALL, 1),
        (r"compose stop` gives a worker (\S+) s", WORKER_IN_COMPOSE + r".*?stop_grace_period: (\d+)s", 1),
        (r"After (\S+) failures in a row", WORKER_IN_COMPOSE + r".*?retries: (\d+)", 1),
        (r"failures in a row, (\S+) s apart", WORKER_IN_COMPOSE + r".*?interval: (\d+)s", 1),
    ],
    "docs/metrics.md": [
        (r"Workers report every (\S+) s", "forebay_worker.line:REPORT_SECONDS", 1),
        (r"counted in its last (\S+) s", "forebay_worker.line:REPORT_SECONDS", 1),
        (
            r"`forebay_workers\{state=\"gone\"\} > 0`, for (\S+) minutes",
            GONE,
            MINUTE,
        ),
        (r"progress_age_seconds > (\S+)", STUCK, 1),
        (r"up to (\S+) sources separately", "forebay.volume.counters:MAX_SOURCES", 1),
    ],
    "docs/volumes.md": [(r"has used it for (\S+) s", "forebay.index.registry:STALE_SECONDS", 1)],
    "docs/training-jobs.md": [(r"`claim_ttl_seconds`, (\S+) s\)", "setting:claim_ttl_seconds", 1)],
    "docs/from-boto3.md": [(r"\((\S+) s\) after it was returned", "setting:grace_seconds", 1)],
    "docs/troubleshooting.md": [
        (r"circuit breaker: (\S+) objects in a row", BREAKER_FAILURES, 1),
        (r"After (\S+) s the server is tried again", BREAKER_PAUSE, 1),
        (r"\(after (\S+) attempts\)", "setting:max_attempts", 1),
        (r"`read_timeout_seconds` \((\S+) s\)", "setting:read_timeout_seconds", 1),
        (r"nothing changed for (\S+) s", "forebay.eviction.room:_PATIENCE_SECONDS", 1),
        (r"a job stops for (\S+) s", STALL, 1),
        (r"no worker has sent a heartbeat for (\S+) s", ALIVE, 1),
    ],
    "docs/quickstart.md": [(r"(\S+) GiB by default", "setting:cache_size_bytes", GIB)],
    "docs/fiftyone-api.md": [
        (r"`download_size_bytes` \((\S+) MiB\)", "setting:download_size_bytes", MIB),
        (r"if (\S+) objects in a row get no answer", BREAKER_FAILURES, 1),
        (r"fail at once for the next (\S+) s", BREAKER_PAUSE, 1),
        (r"answered within the last (\S+) minutes", "forebay.sources.circuit_breaker:_TRUST_SECONDS", MINUTE),
    ],
    "docs/fiftyone-app.md": [
        (r"shapes of the last (\S+) images", "forebay.fiftyone.app.media_shapes:_MAX_KNOWN", 1),
        (r"receives, (\S+) KiB at first", "forebay.fiftyone.app.response_bodies:FIRST_BYTES", KIB),
        (r"at most (\S+) MiB ahead", "forebay.fiftyone.app.response_bodies:_MAX_PIECE_BYTES", MIB),
        (r"valid for (\S+) hour", "forebay.fiftyone.signed_lifetime:DEFAULT_SECONDS", HOUR),
        (r"caches media for up to (\S+) hour", "forebay.fiftyone.app.media_responses:_MAX_AGE_SECONDS", HOUR),
        (r"stays the same for (\S+) day", "forebay.fiftyone.app.signed_links:_PERIOD_SECONDS", DAY),
    ],
    "docs/fiftyone-metadata.md": [
        (r"it uses (\S+) threads", "forebay.fiftyone.metadata:_MIN_THREADS", 1),
        (r"the first (\S+) KiB", "forebay.headers.media_files:FIRST_BYTES", KIB),
        (r"requests, (\S+) KiB and more each", "forebay.headers.video_info:FIRST_BYTES", KIB),
    ],
    "docs/fiftyone-storage.md": [
        (r"but at least (\S+)\.", "forebay.fiftyone.storage.concurrency:_MIN_WORKERS", 1),
        (r"valid for at most (\S+) hours", "forebay.sources.boto:_MAX_SIGNATURE_SECONDS", HOUR),
        (r"valid for at most (\S+) hours", "forebay.sources.gcs_client:MAX_SIGNATURE_SECONDS", HOUR),
        (r"valid for at most (\S+) hours", "forebay.sources.azure_sas:LONGEST_SECONDS", HOUR),
        (r"valid for at most (\S+) hours", "forebay.fiftyone.signed_lifetime:_LONGEST_HOURS", 1),
        (
            r"is valid for (\S+) hours, or for as many",
            "forebay.fiftyone.signed_lifetime:DEFAULT_SECONDS",
            HOUR,
        ),
        (r"Files up to (\S+) MiB are uploaded in one request", "forebay.sources.boto_writer:PART_BYTES", MIB),
    ],
    "docs/cvat.md": [
        (r"reads the first (\S+) KiB of each image", "forebay.cvat.image_manifests:_FIRST_BYTES", KIB),
        (r"in seconds; (\S+) by default", "forebay.fiftyone.cvat_backend:_DEFAULT_TIMEOUT_SECONDS", 1),
        (r"of at most (\S+) images each", "forebay.fiftyone.cvat_backend:_MAX_DEFAULT_TASK_SIZE", 1),
        (r"asks again for up to (\S+) seconds", "forebay.cvat.undoing:WAIT_SECONDS", 1),
        (r"waits (\S+) second before", "forebay.cvat.manifest_files:_SECONDS_UNTIL_NEWER", 1),
    ],
    "README.md": [
        (r"`grace_seconds` \((\S+) s\)", "setting:grace_seconds", 1),
        (
            r"differs from that of Redis by more than (\S+) s",
            "forebay.checks.doctor:_MAX_CLOCK_SKEW_SECONDS",
            1,
        ),
        (r"`FOREBAY_EMBEDDED_IDLE_SECONDS` \((\S+)\)", "forebay.embedded._start:IDLE_SECONDS", 1),
    ],
    "CHANGELOG.md": [
        (r"after (\S+) objects in a row", BREAKER_FAILURES, 1),
        (r"fail at once for the next (\S+) s", BREAKER_PAUSE, 1),
        (r"killed worker is reported for (\S+) minutes", GONE, MINUTE),
        (r"and of `get_url`; (\S+) by default", "forebay.fiftyone.signed_lifetime:DEFAULT_SECONDS", HOUR),
    ],
}
ROWS = [(page, *row) for page, rows in FIGURES.items() for row in rows]


@pytest.mark.parametrize(("page", "sentence", "constant", "unit"), ROWS, ids=str)
def test_a_figure_in_prose_is_that_of_the_code(page: str, sentence: str, constant: str, unit: float) -> None:
    text = (REPOSITORY / page).read_text()
    found = re.findall(sentence.replace(" ", r"\s+"), text)
    assert found, f"{page} does not say {sentence!r} any more: change this table with it"
    assert [number(figure) * unit for figure in found] == [value_of(constant)] * len(found)


def test_words_and_separators_are_understood() -> None:
    assert [number(text) for text in ("four", "65,536", "0.25", "an", "20")] == [4, 65_536, 0.25, 1, 20]
    with pytest.raises(ValueError, match="several"):
        number("several")


def test_a_constant_of_the_adapter_is_read_without_importing_fiftyone() -> None:
    before = set(sys.modules)
    assert constant_of("forebay.fiftyone.app.response_bodies", "FIRST_BYTES") == 256 << 10
    assert sys.modules.keys() - before == set()


def test_a_changed_constant_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    page, sentence, constant, unit = ROWS[0]
    module, _, name = constant.partition(":")
    monkeypatch.setattr(import_module(module), name, 32)
    with pytest.raises(AssertionError):
        test_a_figure_in_prose_is_that_of_the_code(page, sentence, constant, unit)


def number(text: str) -> float:
    """A figure, as a page writes it.

    Raises:
        ValueError: it is not a number.
    """
    words = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}
    return words[text] if text in words else float(text.replace(",", ""))


def value_of(constant: str) -> float:
    """The figure that a page should state.

    Args:
        constant: "module:NAME", or "module:NAME+NAME" for a sum; "setting:name" for its default; for what
            is no constant of Python, "file:path:regular expression" with the figure as its group.
    """
    place, _, names = constant.partition(":")
    if place == "setting":
        return float(MediaCacheConfig.model_fields[names].default())
    if place == "file":
        path, _, pattern = names.partition(":")
        [found] = re.findall(pattern, (REPOSITORY / path).read_text(), re.DOTALL)
        return float(found)
    return sum(float(constant_of(place, name)) for name in names.split("+"))


def constant_of(module: str, name: str) -> Any:
    """The value of a module's constant.

    FiftyOne reads its settings when it is imported, which tests in ``tests/fiftyone`` prepare. So modules of
    the adapter are read here, and not imported.
    """
    if not module.startswith("forebay.fiftyone."):
        return getattr(import_module(module), name)
    path = (REPOSITORY / "api").joinpath(*module.split("."))
    tree = ast.parse(path.with_suffix(".py").read_text())
    [value] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
    ]
    return eval(compile(ast.Expression(value), str(path), "eval"), {})
