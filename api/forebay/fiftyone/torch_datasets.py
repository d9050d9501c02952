"""FiftyOne's PyTorch datasets: their media are downloaded a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forebay.errors import ForebayError
from forebay.fiftyone import active_plans, hooks, local_media
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import is_remote
from forebay.fiftyone.nested_values import flatten, map_nested

_PATHS = {"filepath", "mask_path", "map_path"}


@hooks.around("fiftyone.utils.torch", "FiftyOneTorchDataset.__init__")
def note_media_fields(original: Wrapper, self: Any, samples: Any, *args: Any, **kwargs: Any) -> None:
    original(self, samples, *args, **kwargs)
    # Only media fields get local paths; a URI in another field is data, which stays as it is.
    fields = {*samples._dataset.app_config.media_fields}
    self.forebay_keys = [
        key
        for key, field in self.field_mapping.items()
        if field in fields or field.rpartition(".")[2] in _PATHS
    ]


@hooks.around(
    "fiftyone.utils.torch",
    "FiftyOneTorchDataset._prepare_batch_db",
    "FiftyOneTorchDataset._prepare_batch_vectorized",
)
def prepare_batch(original: Wrapper, self: Any, *args: Any, **kwargs: Any) -> list[Any]:
    batch: list[Any] = original(self, *args, **kwargs)
    keys = self.forebay_keys
    values = [item[key] for item in batch if isinstance(item, dict) for key in keys]
    uris = list(filter(is_remote, flatten(values)))
    _download(uris)
    return [_localized(item, keys, self.skip_failures) for item in batch] if uris else batch


@hooks.add(
    "fiftyone.utils.torch",
    "TorchImageDataset.__getitems__",
    "TorchImageClassificationDataset.__getitems__",
    "TorchImagePatchesDataset.__getitems__",
)
def get_items(self: Any, indices: Sequence[int]) -> list[Any]:
    """Downloads a whole batch for a data loader, which otherwise asks for its items one by one."""
    _download(list(filter(is_remote, (self.image_paths[index].decode() for index in indices))))
    return [self[index] for index in indices]


def _download(uris: list[str]) -> None:
    """Downloads a batch at once; failures are raised later, when the item itself is read."""
    plan = active_plans.current()
    if len(uris) > 1 and not (plan is not None and all(map(plan.includes, uris))):
        media_cache().download_media(uris, progress=False).forget()


def _localized(item: Any, keys: list[str], skip_failures: bool) -> Any:
    if not isinstance(item, dict):
        return item
    try:
        return {
            key: map_nested(local_media.local_path, value) if key in keys else value
            for key, value in item.items()
        }
    except ForebayError as error:
        if not skip_failures:
            raise
        return error
