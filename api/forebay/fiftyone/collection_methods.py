"""The methods for media that the adapter adds to datasets and views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

from forebay.config.sizes import in_bytes
from forebay.errors import DownloadError
from forebay.fiftyone import active_plans, hooks
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.collection_media import MediaFields, Slices, collect_media
from forebay.fiftyone.deferred import fou
from forebay.fiftyone.failure_messages import describe, log_summary
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import is_remote
from forebay.fiftyone.nested_values import map_nested
from forebay.fiftyone.remote_media import RemoteMedia
from forebay.jobs.overflow import overflow_warning
from forebay.lookahead.batch import check_sizes
from forebay.volume.stats import CacheStats

FiftyOneProgress = bool | Callable[[Any], Any] | None

_MODULE, _CLASS = "fiftyone.core.collections", "SampleCollection"


@hooks.add(_MODULE, f"{_CLASS}.download_media")
def download_media(
    self: Any,
    media_fields: MediaFields = None,
    group_slices: Slices = None,
    include_assets: bool = True,
    update: bool = False,
    skip_failures: bool = True,
    progress: FiftyOneProgress = None,
) -> None:
    """Downloads the collection's remote media into the cache.

    Args:
        media_fields: a field or fields with media; by default every one: ``filepath``, those of the
            App's configuration, and the labels' masks and maps on disk.
        group_slices: a slice or slices of a grouped collection; by default all of them.
        include_assets: whether to include the files that 3D scenes refer to.
        update: whether to download files again that have changed at their source.
        skip_failures: false to raise at the first failure; otherwise failures are logged in one message.
        progress: true or false for a progress bar, ``None`` for FiftyOne's default, or a callback.

    Raises:
        DownloadError: a file could not be downloaded, and ``skip_failures`` is false.
    """
    media = _collect(self, media_fields, group_slices, include_assets, update, skip_failures)
    _download(media, update, skip_failures, progress)


@hooks.add(_MODULE, f"{_CLASS}.download_scenes")
def download_scenes(
    self: Any, update: bool = False, skip_failures: bool = True, progress: FiftyOneProgress = None
) -> None:
    """Downloads the collection's ``.fo3d`` files, without the files that they refer to.

    Args:
        update: as for `download_media`; so are the other arguments.

    Raises:
        DownloadError: a scene could not be downloaded, and ``skip_failures`` is false.
    """
    scenes = collect_media(self, "filepath", include_assets=False).scenes()
    _download(scenes, update, skip_failures, progress)


@hooks.add(_MODULE, f"{_CLASS}.get_local_paths")
def get_local_paths(
    self: Any,
    media_field: str = "filepath",
    include_assets: bool = True,
    download: bool = True,
    skip_failures: bool = True,
    progress: FiftyOneProgress = None,
) -> list[Any]:
    """The local path of each sample's media: ``values(media_field)``, with cached copies for remote files.

    Args:
        media_field: a field with media.
        include_assets: whether to include the files that 3D scenes refer to.
        download: whether to download files that are not cached.
        skip_failures: as for `download_media`; the path of a sample that failed does not exist.
        progress: as for `download_media`.

    Returns:
        a path for each sample, or lists of them for a field of lists.

    Raises:
        DownloadError: a file could not be downloaded, and ``skip_failures`` is false.
    """
    field, _ = self._parse_media_field(media_field)
    if download:
        media = collect_media(self, media_field, self.group_slice, include_assets)
        _download(media, False, skip_failures, progress)
    found: list[Any] = map_nested(_cached_path, self.values(field))
    return found


@hooks.add(_MODULE, f"{_CLASS}.download_context")
@contextmanager
def download_context(
    self: Any,
    batch_size: int | None = None,
    target_size_bytes: int | str | None = None,
    media_fields: MediaFields = None,
    group_slices: Slices = None,
    include_assets: bool = True,
    update: bool = False,
    skip_failures: bool = True,
    clear: bool = False,
    progress: FiftyOneProgress = None,
) -> Iterator[None]:
    """A context in which media is downloaded ahead of a loop over the collection.

    Media is downloaded in batches, in the collection's order, while the loop is at the batch before.
    Batches are kept from eviction until the loop has left them, so that the collection may be larger than
    the cache.

    Args:
        batch_size: samples in a batch; by default as many as have ``target_size_bytes``.
        target_size_bytes: bytes in a batch, or as ``500MB``; by default ``download_size_bytes`` of the
            media cache's configuration; negative, such as -1, for everything in one batch.
        clear: whether to remove each batch from the cache when the loop has left it.
        media_fields: as for `download_media`; so are the other arguments.

    Raises:
        ConfigError: a size of batches is not allowed.
        DownloadError: a file could not be downloaded, and ``skip_failures`` is false.
    """
    target: Any = in_bytes(target_size_bytes)
    everything = isinstance(target, Real) and target < 0
    check_sizes(batch_size, None if everything else target)
    media = _collect(self, media_fields, group_slices, include_assets, update, skip_failures)
    steps = len(media.steps)
    with (
        _bar(steps, progress, "samples") as bar,
        active_plans.activate(
            media_cache,
            media,
            batch_size=max(1, steps) if everything and batch_size is None else batch_size,
            target_size_bytes=None if everything else target,
            clear=clear,
            update=update,
            strict=not skip_failures,
            iterated=True,
            on_step=bar.set_iteration,
        ) as plan,
    ):
        if plan is not None:
            plan.begin()
        yield
        bar.set_iteration(steps)


@hooks.add(_MODULE, f"{_CLASS}.cache_stats")
def cache_stats(
    self: Any, media_fields: MediaFields = None, group_slices: Slices = None, include_assets: bool = True
) -> CacheStats:
    """Tells how much of the collection's media is cached; as `MediaCache.stats`.

    Args:
        media_fields: as for `download_media`; so are the other arguments.
    """
    media = collect_media(self, media_fields, group_slices, include_assets, download=False)
    return media_cache().stats(media.cacheable())


@hooks.add(_MODULE, f"{_CLASS}.clear_media")
def clear_media(
    self: Any, media_fields: MediaFields = None, group_slices: Slices = None, include_assets: bool = True
) -> None:
    """Removes the cached copies of the collection's media; the remote and local files stay as they are.

    Args:
        media_fields: as for `download_media`; so are the other arguments.
    """
    uris = collect_media(self, media_fields, group_slices, include_assets, download=False).cacheable()
    if uris:
        media_cache().clear(uris)


@hooks.around("fiftyone.utils.utils3d", "_get_scene_paths")
def get_scene_paths(original: Wrapper, scene_paths: Iterable[str]) -> tuple[Any, bool]:
    """Gives FiftyOne the local copies of the scenes whose assets it collects."""
    scenes = list(scene_paths)
    remote = [scene for scene in scenes if is_remote(scene)]
    if not remote:
        return original(scene_paths)  # type: ignore[no-any-return]
    local = dict(zip(remote, media_cache().get_local_paths(remote, progress=False), strict=True))
    return [local.get(scene, scene) for scene in scenes], True


@hooks.around("fiftyone.core.dataset", "Dataset._iter_samples")
@hooks.around("fiftyone.core.view", "DatasetView._iter_samples")
def iter_samples(original: Wrapper, self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
    """Tells a `download_context` which sample its loop has reached, before the loop gets it."""
    for sample in original(self, *args, **kwargs):
        if active_plans.any_active():
            active_plans.reach_sample(sample.id)
        yield sample


@hooks.around("fiftyone.core.dataset", "Dataset._iter_groups")
@hooks.around("fiftyone.core.view", "DatasetView._iter_groups")
def iter_groups(original: Wrapper, self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
    for group in original(self, *args, **kwargs):
        if active_plans.any_active():
            for sample in group.values():
                active_plans.reach_sample(sample.id)
        yield group


def _cached_path(path: Any) -> Any:
    """The path of a remote file's cached copy, whether it exists or not; other paths unchanged."""
    return media_cache().get_local_paths([path], download=False)[0] if is_remote(path) else path


def _collect(
    collection: Any,
    media_fields: MediaFields,
    group_slices: Slices,
    include_assets: bool,
    update: bool,
    skip_failures: bool,
) -> RemoteMedia:
    """The media to download; with ``update``, of 3D scenes that are current."""
    if update and include_assets:
        # A cached scene that has changed at its source may refer to other files now.
        download_scenes(collection, update=True, skip_failures=skip_failures, progress=False)
    return collect_media(collection, media_fields, group_slices, include_assets)


def _download(media: RemoteMedia, update: bool, skip_failures: bool, progress: FiftyOneProgress) -> None:
    uris = media.uris()
    if not uris:
        return
    job = media_cache().create_job(uris, update=update)
    job.start()
    with _bar(len(uris), progress, "files") as bar:
        try:
            job.wait(
                skip_failures=skip_failures,
                progress=lambda status: bar.set_iteration(status.total - status.pending),
            )
        except DownloadError as error:
            first = error.failures[0]
            raise DownloadError(
                describe(first.uri, first.reason, media.owner(first.uri)),
                job=error.job,
                failed=error.failed,
                failures=error.failures,
            ) from error
    log_summary([(failure.uri, failure.reason) for failure in job.failures()], media)
    if text := overflow_warning(
        media_cache().engine.open_index(), media_cache().config.limit, uris, job.status()
    ):
        log.warning("%s", text)
    job.forget()


def _bar(total: int, progress: FiftyOneProgress, unit: str) -> Any:
    """FiftyOne's own progress bar, which interprets ``progress=``."""
    return fou.ProgressBar(total=total, progress=progress, iters_str=unit)
