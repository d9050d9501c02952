"""Models that look at pixels and need no weights. Imports FiftyOne: import it inside a test only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone.core.models as fom
import numpy as np
import torch
from fiftyone import Classification, Segmentation
from fiftyone.utils.torch import GetItem, ImageGetItem

from tests.fiftyone.workflows.table import VIDEOS


def mean_color(img: Any) -> Any:
    """Three numbers that other pixels would change."""
    return np.asarray(img, dtype=float)[..., :3].mean(axis=(0, 1))


class Plain(fom.Model, fom.EmbeddingsMixin):
    """An image model without PyTorch."""

    media_type = "image"
    has_embeddings = True
    ragged_batches = False
    transforms = None
    preprocess = True

    def predict(self, arg: Any) -> Any:
        return Classification(label=" ".join(f"{x:.4f}" for x in mean_color(arg)))

    def embed(self, arg: Any) -> Any:
        return mean_color(arg)

    def embed_all(self, args: Any) -> Any:
        return np.stack([mean_color(arg) for arg in args])


class Segmenting(Plain):
    """An image model that makes masks."""

    def predict(self, arg: Any) -> Any:
        return Segmentation(mask=(arg[..., 0] > 127).astype(np.uint8))


class WithSamples(fom.SamplesMixin, Plain):
    """An image model that is given the sample, too, and reads its file and its mask."""

    def predict(self, arg: Any, sample: Any = None) -> Any:
        label = super(fom.SamplesMixin, self).predict(arg).label
        mask = sample.segmentation.get_mask().sum() if sample.has_field("segmentation") else ""
        return Classification(label=f"{label} {Path(sample.local_path).stat().st_size} {mask}")

    def predict_all(self, args: Any, samples: Any = None) -> Any:
        return [self.predict(arg, sample) for arg, sample in zip(args, samples, strict=True)]


class OverLoader(fom.TorchModelMixin, Plain):
    """An image model that is fed by a data loader."""

    def transforms(self, img: Any) -> Any:
        return torch.as_tensor(np.asarray(img.resize((16, 16))).copy())

    def predict(self, arg: Any) -> Any:
        return super().predict(self.transforms(arg) if self.preprocess else arg)


class Getting(Plain, fom.SupportsGetItem, fom.TorchModelMixin):
    """An image model whose inputs FiftyOne's own torch dataset makes."""

    def build_get_item(self, field_mapping: Any = None) -> Any:
        return ImageGetItem(field_mapping=field_mapping, transform=_small, use_numpy=False, raw_inputs=False)


class OfVideos(fom.Model, fom.EmbeddingsMixin):
    """A video model."""

    media_type = "video"
    has_embeddings = True
    ragged_batches = False
    transforms = None
    preprocess = True

    def predict(self, arg: Any) -> Any:
        return Classification(label=" ".join(f"{x:.4f}" for x in self.embed(arg)))

    def embed(self, arg: Any) -> Any:
        return np.mean([mean_color(frame) for frame in arg], axis=0)


def of(kind: str) -> fom.Model:
    """A model that embeds media of one of `table.KINDS`."""
    return OfVideos() if kind == VIDEOS else Plain()


class Sizes(GetItem):
    """Reads each file's size."""

    required_keys = ("filepath",)

    def __call__(self, d: Any) -> Any:
        return Path(d["filepath"]).stat().st_size


class MaskSizes(GetItem):
    """Reads the sizes of each sample's mask, heatmap and instances' masks."""

    required_keys = ("mask", "map", "instances")

    def __call__(self, d: Any) -> Any:
        return [Path(path).stat().st_size for path in (d["mask"], d["map"], *d["instances"])]


def _small(img: Any) -> Any:
    return torch.as_tensor(np.asarray(img.resize((16, 16))).copy())
