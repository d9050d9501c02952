"""PyTorch datasets made of collections: their items get local paths, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from forebay.errors import ForebayError
from forebay.fiftyone import hooks, media, plans
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media import is_remote, media_cache

_PATHS = {"filepath", "mask_path", "map_path"}


@hooks.around("fiftyone.utils.torch", "FiftyOneTorchDataset.__init__")
def note_media_fields(original: Wrapper, self: Any, samples: Any, *args: Any, **kwargs: Any) -> None:
    original(self, samples, *args, **kwargs)
    # Only paths of media are localized: a URI in another field is somebody's link to elsewhere.
    fields = {*samples._dataset.app_config.media_fields}
    self.forebay_keys = [
        key
        for key, field in self.field_mapping.items()
        if field in fields or field.rpartition(".")[2] in _PATHS
    ]


@hooks.around("fiftyone.utils.torch", "FiftyOneTorchDataset._build_batch")
def build_batch(original: Wrapper, self: Any, *args: Any, **kwargs: Any) -> list[Any]:
    batch: list[Any] = original(self, *args, **kwargs)
    keys = self.forebay_keys
    uris = [uri for item in batch if isinstance(item, dict) for key in keys for uri in _remote(item[key])]
    _fetch(uris)
    return [_localized(item, keys, self.skip_failures) for item in batch] if uris else batch


@hooks.add(
    "fiftyone.utils.torch",
    "TorchImageDataset.__getitems__",
    "TorchImageClassificationDataset.__getitems__",
    "TorchImagePatchesDataset.__getitems__",
)
def get_items(self: Any, indices: Sequence[int]) -> list[Any]:
    """A batch for a data loader, which asks for its items one by one where there is no such method."""
    _fetch([uri for index in indices for uri in _remote(self.image_paths[index].decode())])
    return [self[index] for index in indices]


def _fetch(uris: list[str]) -> None:
    """Fetches a batch at once; what fails is tried again when its turn comes, and then says why."""
    plan = plans.current()
    if len(uris) > 1 and not (plan is not None and all(map(plan.foresees, uris))):
        media_cache().download_media(uris, progress=False).forget()


def _remote(value: Any) -> Iterator[str]:
    """The URIs in a field's value: a path, or lists of them."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from _remote(each)
    elif is_remote(value):
        yield value


def _localized(item: Any, keys: list[str], skip_failures: bool) -> Any:
    if not isinstance(item, dict):
        return item
    try:
        return {key: _local(value) if key in keys else value for key, value in item.items()}
    except ForebayError as error:
        if not skip_failures:
            raise
        return error


def _local(value: Any) -> Any:
    return [_local(each) for each in value] if isinstance(value, list | tuple) else media.local(value)
