"""Lets torchvision be imported beside a CPU build of PyTorch.

There is no CPU build of torchvision in the registry, and that for CUDA cannot load its compiled
operators then. Its Python side, which is all that FiftyOne's modules need here, only asks that two of
them are declared.
"""

from __future__ import annotations

from typing import Any

_keep: list[Any] = []


def declare() -> None:
    """Declares what torchvision looks for, unless its operators can be loaded."""
    import torch

    if torch.version.cuda is not None or _keep:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
    # It takes its declarations back when it is deleted.
    _keep.append(library)
