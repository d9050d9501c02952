"""The table of the commands, in the order of the help: where each is, and what the help says of it.

A module is imported when one of its commands is used. A test compares the summaries with the docstrings.
"""

from __future__ import annotations

from forebay.cli.lazy import LazyCommand

COMMANDS = {
    "prefetch": LazyCommand(
        "forebay.cli.prefetch_commands",
        "Bring objects into the cache: through the fleet of workers, or with threads of this process.",
    ),
    "get": LazyCommand(
        "forebay.cli.prefetch_commands",
        "Print the path of a cached file; download it first where it is missing.",
    ),
    "ls": LazyCommand(
        "forebay.cli.content_commands",
        "List what is cached: size, last use, URI. A * marks what a lease keeps.",
    ),
    "stats": LazyCommand(
        "forebay.cli.content_commands",
        "Say how full the cache is, and what holds its space.",
    ),
    "verify": LazyCommand(
        "forebay.cli.content_commands",
        "Check that all of it is cached: compares with the index and the disk, and lists what is missing.",
    ),
    "clear": LazyCommand(
        "forebay.cli.content_commands",
        "Remove files from the cache. The objects at their sources stay as they are.",
    ),
    "evict": LazyCommand(
        "forebay.cli.content_commands",
        "Evict what was used least recently, until the cache holds no more than a size.",
    ),
    "jobs": LazyCommand(
        "forebay.cli.job_commands",
        "List the prefetch jobs of the volume, oldest first; with --volume a,b or all, those of several.",
    ),
    "job": LazyCommand(
        "forebay.cli.job_commands",
        "Show a job and everything that failed of it; or watch it, retry it, cancel it.",
    ),
    "schedule": LazyCommand(
        "forebay.cli.schedule_commands",
        "Let workers prefetch again and again: list, add, pause, resume, remove, run.",
    ),
    "config": LazyCommand(
        "forebay.cli.setup_commands",
        "Print every setting, its value, and where it came from; secrets are masked.",
    ),
    "doctor": LazyCommand(
        "forebay.cli.setup_commands",
        "Check Redis, the volume, its disk, the workers, and access to a URI; say what to do where it fails.",
    ),
    "worker": LazyCommand(
        "forebay.cli.service_commands",
        "Work for the fleet: a Celery worker of the volume. Ctrl-C ends it cleanly, a second one at once.",
    ),
    "flower": LazyCommand(
        "forebay.cli.service_commands",
        "Show the fleet's workers and tasks in a browser, with Flower. Ctrl-C ends it.",
    ),
    "up": LazyCommand(
        "forebay.cli.service_commands",
        "Start all that one machine needs: the embedded index, a worker, and Flower. Ctrl-C stops it all.",
    ),
    "volumes": LazyCommand(
        "forebay.cli.volume_commands",
        "List the volumes of the Redis: size, use, workers alive, rate of the last minute, and place.",
    ),
    "metrics": LazyCommand(
        "forebay.cli.metrics_commands",
        "Print what Redis knows of the volume for Prometheus, or serve it. --volume also takes a,b or all.",
    ),
    "lease": LazyCommand(
        "forebay.cli.lease_commands",
        "Keep objects from eviction: list, add, renew and end leases.",
    ),
    "fiftyone": LazyCommand(
        "forebay.cli.fiftyone_commands",
        "Let FiftyOne use cloud media: enable, disable, status.",
    ),
    "cvat": LazyCommand(
        "forebay.cli.cvat_commands",
        "Annotate media in a bucket with CVAT: manifest, attach.",
    ),
}
