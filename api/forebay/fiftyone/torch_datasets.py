"""PyTorch datasets made of collections: their items get local paths, a batch at a time."""

from __future__ import annotations

from typing import Any

from forebay.errors import ForebayError
from forebay.fiftyone import hooks, media
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
    uris = [item[key] for item in batch if isinstance(item, dict) for key in keys if is_remote(item[key])]
    if len(uris) > 1:
        media_cache().download_media(uris, progress=False).forget()
    return [_localized(item, keys, self.skip_failures) for item in batch] if uris else batch


def _localized(item: Any, keys: list[str], skip_failures: bool) -> Any:
    if not isinstance(item, dict):
        return item
    try:
        return {key: media.local(value) if key in keys else value for key, value in item.items()}
    except ForebayError as error:
        if not skip_failures:
            raise
        return error
