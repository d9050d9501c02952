"""Datasets made of paths or URIs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def dataset_of(fo: Any, paths: Iterable[Any]) -> Any:
    """A dataset with one sample for each path."""
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=str(path)) for path in paths])
    return dataset


def pairs_of(fo: Any, paths: Sequence[str]) -> Any:
    """A grouped dataset of ``left`` and ``right`` slices, made of the paths by turns."""
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    for left, right in zip(paths[::2], paths[1::2], strict=True):
        group = fo.Group()
        dataset.add_samples(
            [
                fo.Sample(filepath=left, group=group.element("left")),
                fo.Sample(filepath=right, group=group.element("right")),
            ]
        )
    return dataset
