"""Runs a model over remote photographs, once on an empty cache, and once more on what is cached then.

Arguments: the way in which the photographs come into the cache, a file of their URIs, and the seconds
that the model takes for a sample. Prints, as JSON, the seconds of both loops, those for which the first
loop stood still for its files, and those until the model got its first sample.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import fiftyone as fo
import fiftyone.core.models as fom
import fiftyone.utils.image as foui
import numpy as np

from forebay.fiftyone import active_plans, local_media, workflows
from tests.fiftyone import torchvision_operators

WAY, URIS, SECONDS = sys.argv[1], sys.argv[2], float(sys.argv[3])
began: list[float] = []
stood: list[float] = []


class Slow(fom.Model):
    """Waits, as for a GPU."""

    media_type = "image"
    ragged_batches = True
    transforms = staticmethod(np.asarray)
    preprocess = False
    has_collate_fn = True
    collate_fn: Any = staticmethod(list)
    using_half_precision = False

    def predict(self, arg: Any) -> Any:
        began.append(time.perf_counter())
        time.sleep(SECONDS)
        return fo.Classification(label=str(arg.shape))


class SlowOverLoader(fom.TorchModelMixin, Slow):
    """The same, fed by a data loader."""


def watch_the_loop() -> None:
    """Notes for how long the main thread stands still: for a path, a download, or a loader's batch."""
    depth = 0

    @contextlib.contextmanager
    def standing() -> Iterator[None]:
        nonlocal depth
        start, depth = time.perf_counter(), depth + 1
        try:
            yield
        finally:
            depth -= 1
            if depth == 0:
                stood.append(time.perf_counter() - start)

    local, reading = local_media.local_path, local_media.path_for_reading
    iterate = workflows._StepReportingLoader.__iter__

    def timed_local(path: Any) -> Any:
        with standing():
            return local(path)

    @contextlib.contextmanager
    def timed_reading(path: Any) -> Iterator[Any]:
        with contextlib.ExitStack() as opened:
            with standing():
                found = opened.enter_context(reading(path))
            yield found

    def timed_batches(self: Any) -> Iterator[Any]:
        with standing():
            batches = iterate(self)
        while True:
            with standing():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    local_media.local_path, local_media.path_for_reading = timed_local, timed_reading
    workflows._StepReportingLoader.__iter__ = timed_batches  # type: ignore[method-assign]


def without_a_plan(dataset: Any, field: str) -> None:
    planned = active_plans.activate
    active_plans.activate = lambda *args, **options: contextlib.nullcontext()  # type: ignore[assignment]
    dataset.apply_model(Slow(), field)
    active_plans.activate = planned


def download_first(dataset: Any, field: str) -> None:
    start = time.perf_counter()
    dataset.download_media()
    stood.append(time.perf_counter() - start)
    dataset.apply_model(Slow(), field)


def apply_model(dataset: Any, field: str) -> None:
    dataset.apply_model(Slow(), field)


def download_context(dataset: Any, field: str) -> None:
    model = Slow()
    with dataset.download_context():
        for sample in dataset.iter_samples(autosave=True):
            sample[field] = model.predict(foui.read(sample.local_path))


def data_loader(dataset: Any, field: str) -> None:
    dataset.apply_model(SlowOverLoader(), field, num_workers=2)


WAYS: dict[str, Callable[[Any, str], None]] = {
    function.__name__: function
    for function in (without_a_plan, download_first, apply_model, download_context, data_loader)
}


def timed(dataset: Any, field: str) -> tuple[float, float, float]:
    began.clear()
    stood.clear()
    start = time.perf_counter()
    WAYS[WAY](dataset, field)
    end = time.perf_counter()
    if dataset.count(f"{field}.label") != len(dataset):
        raise RuntimeError("the model has not seen every photograph")
    return end - start, sum(stood), began[0] - start


if __name__ == "__main__":
    with open(URIS) as file:
        dataset = fo.Dataset()
        dataset.add_samples([fo.Sample(filepath=uri) for uri in file.read().split()])
    torchvision_operators.declare()
    # What is imported late, and the start of the servers, are not what is measured.
    with tempfile.TemporaryDirectory() as directory:
        foui.write(np.zeros((8, 8, 3), np.uint8), f"{directory}/local.png")
        local = fo.Dataset()
        local.add_sample(fo.Sample(filepath=f"{directory}/local.png"))
        WAYS[WAY](local, "warm")
    fo.media_cache.stats()
    watch_the_loop()
    empty, still, first = timed(dataset, "first")
    cached, *_ = timed(dataset, "second")
    print(json.dumps({"empty": empty, "cached": cached, "still": still, "first": first}))
