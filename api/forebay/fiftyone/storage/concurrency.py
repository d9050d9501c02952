"""How many files are handled at a time: for remote ones, more than there are CPUs."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from forebay.fiftyone import hooks, local_media
from forebay.fiftyone.deferred import fo
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import is_remote
from forebay.fiftyone.storage.remote_objects import STORAGE_MODULE

_MIN_WORKERS = 16


@hooks.around(STORAGE_MODULE, "_run")
def run(original: Wrapper, fcn: Any, tasks: Any, *args: Any, **kwargs: Any) -> Any:
    given = args[1] if len(args) > 1 else kwargs.get("num_workers")
    if len(args) < 2 and given is None and isinstance(tasks, Sized) and _any_remote(tasks):
        kwargs["num_workers"] = workers()
    return original(fcn, tasks, *args, **kwargs)


def workers() -> int:
    """How many remote files to handle at a time, by FiftyOne's settings, else the media cache's."""
    config = local_media.media_cache().config
    # The default is the number of CPUs, but threads for remote files wait for the network.
    min_workers = _MIN_WORKERS if config.origins()["num_workers"] == "default" else 1
    return fo.config.default_thread_pool_workers or max(min_workers, config.num_workers)


def _any_remote(tasks: Any) -> bool:
    return any(is_remote(part) for task in tasks for part in (task if isinstance(task, tuple) else (task,)))
