"""What samples collections can do with their media: datasets and views alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlsplit

from forebay.errors import DownloadError
from forebay.fiftyone import hooks, plans
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media import is_remote, media_cache
from forebay.jobs import Job
from forebay.uri import entry_of, redact

MediaFields = str | Iterable[str] | None
Slices = str | Iterable[str] | None
FiftyOneProgress = bool | Callable[[Any], Any] | None

_method = "SampleCollection"


def media_of(
    collection: Any,
    media_fields: MediaFields = None,
    group_slices: Slices = None,
    include_assets: bool = True,
    download: bool = True,
) -> tuple[list[str], list[list[str]]]:
    """The samples' ids, and the remote media of each.

    Args:
        media_fields: by default every field that holds media: ``filepath``, those of the App's
            configuration, and the labels' masks and maps on disk, of frames as well.
        group_slices: by default all.
        include_assets: what the samples' 3D scenes refer to, as well.
        download: whether to download scenes in order to see what they refer to; otherwise only those
            that are cached are looked at.
    """
    fields = _fields(collection, media_fields)
    paths: list[list[Any]] = collection._get_media_paths(
        media_fields=fields, group_slices=group_slices, include_assets=False, flat=False
    )
    ids: list[str] = collection.values("id")
    if include_assets and "filepath" in fields:
        _add_assets(paths, download)
    return ids, [list(dict.fromkeys(path for path in sample if is_remote(path))) for sample in paths]


def foreseen(
    collection: Any, media_fields: MediaFields = "filepath", include_assets: bool = False
) -> AbstractContextManager[plans.Plan | None]:
    """Runs a workflow over the collection by a plan: see `forebay.fiftyone.plans`."""
    ids, samples = media_of(collection, media_fields, include_assets=include_assets)
    return plans.foreseen(media_cache, ids, samples)


@hooks.add("fiftyone.core.collections", f"{_method}.download_media")
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
        group_slices: a slice or slices of a grouped collection; by default all.
        include_assets: whether to download what 3D scenes refer to.
        update: download again what has changed at its source.
        skip_failures: false to raise at the first failure; otherwise failures are logged in one message.
        progress: true or false for a progress bar, ``None`` for FiftyOne's default, or a callback.

    Raises:
        DownloadError: a file could not be downloaded, and ``skip_failures`` is false.
    """
    if update and include_assets:
        download_scenes(self, update=True, skip_failures=skip_failures, progress=False)
    ids, samples = media_of(self, media_fields, group_slices, include_assets)
    _download(ids, samples, update, skip_failures, progress)


@hooks.add("fiftyone.core.collections", f"{_method}.download_scenes")
def download_scenes(
    self: Any, update: bool = False, skip_failures: bool = True, progress: FiftyOneProgress = None
) -> None:
    """Downloads the collection's ``.fo3d`` files, without what they refer to.

    Args:
        update: as `download_media`, and so are the others.

    Raises:
        DownloadError: a scene could not be downloaded, and ``skip_failures`` is false.
    """
    ids, samples = media_of(self, "filepath", include_assets=False)
    scenes = [[uri for uri in sample if _is_scene(uri)] for sample in samples]
    _download(ids, scenes, update, skip_failures, progress)


@hooks.add("fiftyone.core.collections", f"{_method}.get_local_paths")
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
        include_assets: whether to download what 3D scenes refer to.
        download: whether to download what is not cached.
        skip_failures: as `download_media`; nothing lies at the path of a sample that failed.
        progress: as `download_media`.

    Returns:
        a path for each sample, or lists of them for a field of lists.

    Raises:
        DownloadError: a file could not be downloaded, and ``skip_failures`` is false.
    """
    field, _ = self._parse_media_field(media_field)
    if download:
        ids, samples = media_of(self, media_field, self.group_slice and [self.group_slice], include_assets)
        _download(ids, samples, False, skip_failures, progress)
    found: list[Any] = _each(_cached_path, self.values(field))
    return found


@hooks.add("fiftyone.core.collections", f"{_method}.download_context")
@contextmanager
def download_context(
    self: Any,
    batch_size: int | None = None,
    target_size_bytes: int | None = None,
    media_fields: MediaFields = None,
    group_slices: Slices = None,
    include_assets: bool = True,
    update: bool = False,
    skip_failures: bool = True,
    clear: bool = False,
    progress: FiftyOneProgress = None,
) -> Iterator[None]:
    """A context in which the media of a loop over the collection is downloaded ahead of it.

    Media is downloaded in batches, in the collection's order, while the loop is at the batch before.
    What is at hand is kept from eviction, so that the collection may be larger than the cache.

    Args:
        batch_size: samples in a batch; by default as many as have ``target_size_bytes``.
        target_size_bytes: bytes in a batch; by default ``download_size_bytes`` of the media cache's
            configuration; negative for everything in one batch.
        clear: remove each batch from the cache when the loop has left it.
        media_fields: as `download_media`, and so are the others.

    Raises:
        DownloadError: a file could not be downloaded, and ``skip_failures`` is false.
    """
    if update and include_assets:
        download_scenes(self, update=True, skip_failures=skip_failures, progress=False)
    ids, samples = media_of(self, media_fields, group_slices, include_assets)
    everything = target_size_bytes is not None and target_size_bytes < 0
    with (
        _bar(len(ids), progress) as bar,
        plans.foreseen(
            media_cache,
            ids,
            samples,
            batch_size=len(ids) if everything and batch_size is None else batch_size,
            target_size_bytes=None if everything else target_size_bytes,
            clear=clear,
            update=update,
            strict=not skip_failures,
            passed=bar.set_iteration,
        ) as plan,
    ):
        if plan is not None:
            plan.begin()
        yield
        bar.set_iteration(len(ids))


@hooks.add("fiftyone.core.collections", f"{_method}.cache_stats")
def cache_stats(
    self: Any, media_fields: MediaFields = None, group_slices: Slices = None, include_assets: bool = True
) -> dict[str, Any]:
    """How much of the collection's media is cached: as `MediaCache.stats`.

    Args:
        media_fields: as `download_media`, and so are the others.
    """
    _, samples = media_of(self, media_fields, group_slices, include_assets, download=False)
    return media_cache().stats(_flat(samples))


@hooks.add("fiftyone.core.collections", f"{_method}.clear_media")
def clear_media(
    self: Any, media_fields: MediaFields = None, group_slices: Slices = None, include_assets: bool = True
) -> None:
    """Removes the cached copies of the collection's media; what is remote or local stays as it is.

    Args:
        media_fields: as `download_media`, and so are the others.
    """
    _, samples = media_of(self, media_fields, group_slices, include_assets, download=False)
    uris = _flat(samples)
    if uris:
        media_cache().clear(uris)


@hooks.around("fiftyone.utils.utils3d", "_get_scene_paths")
def get_scene_paths(original: Wrapper, scene_paths: Iterable[str]) -> tuple[Any, bool]:
    """Gives FiftyOne the local copies of the scenes whose assets it looks for."""
    scenes = list(scene_paths)
    remote = [scene for scene in scenes if is_remote(scene)]
    if not remote:
        return original(scene_paths)  # type: ignore[no-any-return]
    local = dict(zip(remote, media_cache().get_local_paths(remote, progress=False), strict=True))
    return [local.get(scene, scene) for scene in scenes], False


def _fields(collection: Any, media_fields: MediaFields) -> list[str]:
    if isinstance(media_fields, str):
        return [media_fields]
    if media_fields is not None:
        return list(media_fields)
    fields = list(collection._get_media_fields())
    if collection._contains_videos(any_slice=True):
        fields += [f"frames.{field}" for field in collection._get_media_fields(frames=True)]
    return fields


def _add_assets(paths: list[list[Any]], download: bool) -> None:
    """Adds to each sample's paths what its scenes refer to."""
    import fiftyone.utils.utils3d as fou3d

    scenes = {path for sample in paths for path in sample if path and _is_scene(path)}
    if not download:
        scenes = {scene for scene in scenes if not is_remote(scene) or _is_cached(scene)}
    if scenes:
        assets = fou3d.get_scene_asset_paths(
            sorted(scenes), abs_paths=True, skip_failures=True, progress=False
        )
        for sample in paths:
            sample += [asset for path in sample for asset in assets.get(path, ())]


def _is_scene(path: str) -> bool:
    return (urlsplit(path).path if is_remote(path) else path).endswith(".fo3d")


def _is_cached(uri: str) -> bool:
    return media_cache().volume.locate(entry_of(uri)) is not None


def _cached_path(path: Any) -> Any:
    """Where a remote file lies when it is cached."""
    return media_cache().get_local_paths([path], download=False)[0] if is_remote(path) else path


def _each(function: Callable[[Any], Any], values: Any) -> Any:
    if isinstance(values, list | tuple):
        return [_each(function, value) for value in values]
    return function(values)


def _flat(samples: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(uri for sample in samples for uri in sample))


def _download(
    ids: Sequence[str],
    samples: Sequence[Sequence[str]],
    update: bool,
    skip_failures: bool,
    progress: FiftyOneProgress,
) -> None:
    uris = _flat(samples)
    if not uris:
        return
    job = media_cache().create_job(uris, update=update)
    job.start()
    with _bar(len(uris), progress) as bar:
        try:
            job.wait(
                skip_failures=skip_failures,
                progress=lambda status: bar.set_iteration(status.total - status.pending),
            )
        except DownloadError as error:
            raise DownloadError(_first_failure(job, ids, samples)) from error
    failed = {failure.uri: failure.reason for failure in job.failures()}
    plans.summarize(failed, len(uris))
    job.forget()


def _first_failure(job: Job, ids: Sequence[str], samples: Sequence[Sequence[str]]) -> str:
    failure = job.failures()[0]
    for sample, uris in zip(ids, samples, strict=True):
        if failure.uri in map(redact, uris):
            return f"{failure.reason} (sample {sample})"
    return failure.reason


def _bar(total: int, progress: FiftyOneProgress) -> Any:
    """FiftyOne's own progress bar, which knows what ``progress=`` means."""
    import fiftyone.core.utils as fou

    return fou.ProgressBar(total=total, progress=progress, iters_str="files")
