"""Remote files are many round trips away, so more of them are handled at a time than there are CPUs."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from forebay.fiftyone import hooks, media
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media import is_remote
from forebay.fiftyone.storage.access import MODULE

_LEAST = 16


@hooks.around(MODULE, "_run")
def run(original: Wrapper, fcn: Any, tasks: Any, *args: Any, **kwargs: Any) -> Any:
    given = args[1] if len(args) > 1 else kwargs.get("num_workers")
    if len(args) < 2 and given is None and isinstance(tasks, Sized) and _any_remote(tasks):
        kwargs["num_workers"] = workers()
    return original(fcn, tasks, *args, **kwargs)


def workers() -> int:
    """How many remote files to handle at a time: as FiftyOne's settings say, else the media cache's."""
    import fiftyone as fo

    config = media.media_cache().config
    # The default counts CPUs, which are idle while a store answers.
    least = _LEAST if config.origins()["num_workers"] == "default" else 1
    return fo.config.default_thread_pool_workers or max(least, config.num_workers)


def _any_remote(tasks: Any) -> bool:
    return any(is_remote(part) for task in tasks for part in (task if isinstance(task, tuple) else (task,)))
