"""Models small enough to be written down."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.core.models as fom
import numpy as np
import torch
from fiftyone.utils.torch import ImageGetItem


class Brightness(fom.Model, fom.EmbeddingsMixin):
    """Tells how bright an image is; its embedding is the mean of each channel."""

    _last: Any = None

    media_type = "image"
    ragged_batches = True
    transforms = None
    preprocess = True
    has_embeddings = True

    def predict(self, arg: Any) -> Any:
        self._last = np.asarray(arg, dtype=float).reshape(-1, np.shape(arg)[-1]).mean(0)[:3]
        mean = float(self._last.mean())
        return fo.Classification(label="bright" if mean > 100 else "dark", confidence=mean / 255)

    def get_embeddings(self) -> Any:
        return self._last[None]

    def embed(self, arg: Any) -> Any:
        self.predict(arg)
        return self._last

    def embed_all(self, args: Any) -> Any:
        return np.stack([self.embed(arg) for arg in args])


class Broken(Brightness):
    """Fails on every second image."""

    _number = 0

    def predict(self, arg: Any) -> Any:
        self._number += 1
        if self._number % 2:
            raise ValueError("no idea what that is")
        return super().predict(arg)


class Length(fom.Model):
    """Counts the frames of a video."""

    media_type = "video"
    ragged_batches = True
    transforms = None
    preprocess = True

    def predict(self, arg: Any) -> Any:
        frames = {
            number: fo.Classification(label=str(int(np.mean(frame)))) for number, frame in enumerate(arg, 1)
        }
        return frames


def tensor(image: Any) -> Any:
    values = np.asarray(image.convert("RGB").resize((16, 16)), dtype=np.float32) / 255
    return torch.from_numpy(values).permute(2, 0, 1)


class TorchBrightness(fom.Model, fom.EmbeddingsMixin, fom.TorchModelMixin):
    """The same, by PyTorch's data loader."""

    _last: Any = None
    _using_gpu = False

    media_type = "image"
    ragged_batches = False
    preprocess = False
    has_embeddings = True
    transforms = staticmethod(tensor)

    def predict(self, arg: Any) -> Any:
        return self.predict_all(arg[None])[0]

    def predict_all(self, args: Any) -> Any:
        self._last = args.mean((2, 3)).numpy()
        return [
            fo.Classification(label="bright" if mean > 0.4 else "dark", confidence=float(mean))
            for mean in self._last.mean(1)
        ]

    def get_embeddings(self) -> Any:
        return self._last

    def embed_all(self, args: Any) -> Any:
        self.predict_all(args)
        return self._last


class GetItemBrightness(TorchBrightness, fom.SupportsGetItem):
    """The same, by `SampleCollection.to_torch`."""

    def build_get_item(self, field_mapping: Any = None) -> Any:
        return ImageGetItem(field_mapping=field_mapping, transform=tensor)


def get_item() -> Any:
    """The item that a torch dataset loads of a sample."""
    return ImageGetItem(transform=tensor)
