"""Forebay for PyTorch: datasets and a sampler whose media are fetched ahead, in the sampler's own order.

The only room that imports PyTorch (extra ``torch``).
"""

from __future__ import annotations

try:
    import torch  # noqa: F401
except ImportError as missing:
    raise ImportError("forebay.torch needs PyTorch: pip install 'forebay[torch]'") from missing

from forebay.torch.media_dataset import MediaDataset
from forebay.torch.media_sampler import MediaSampler
from forebay.torch.tar_shards import TarShards

__all__ = ["MediaDataset", "MediaSampler", "TarShards"]
