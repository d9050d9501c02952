"""Calls: models, and PyTorch's datasets."""

from __future__ import annotations

from typing import Any

from tests.fiftyone.parity import made
from tests.fiftyone.parity.record import Ground, call

_MODELS = {
    "one image at a time": ("Brightness", {}),
    "in batches": ("Brightness", {"batch_size": 2}),
    "PyTorch's data loader": ("TorchBrightness", {"batch_size": 2, "num_workers": 0}),
    "PyTorch's data loader in other processes": ("TorchBrightness", {"batch_size": 2, "num_workers": 2}),
    "a GetItem": ("GetItemBrightness", {"batch_size": 2, "num_workers": 0}),
    "a GetItem in other processes": ("GetItemBrightness", {"batch_size": 2, "num_workers": 2}),
}


def _model(name: str) -> Any:
    from tests.fiftyone.parity import own_models

    return getattr(own_models, name)()


def _apply(model: str, options: dict[str, Any]) -> Any:
    def apply(ground: Ground) -> Any:
        dataset = made.images(ground)
        dataset.apply_model(_model(model), label_field="predictions", **options)
        return dataset.values("predictions")

    return apply


def _embed(model: str, options: dict[str, Any]) -> Any:
    def embed(ground: Ground) -> Any:
        dataset = made.images(ground)
        dataset.compute_embeddings(_model(model), embeddings_field="embeddings", **options)
        return dataset.compute_embeddings(_model(model), **options), dataset.values("embeddings")

    return embed


def _embed_patches(model: str, options: dict[str, Any]) -> Any:
    def embed(ground: Ground) -> Any:
        dataset = made.images(ground)
        embeddings = dataset.compute_patch_embeddings(_model(model), "detections", **options)
        return list(embeddings.values())

    return embed


for _name, (_class, _options) in _MODELS.items():
    call(f"apply_model: {_name}")(_apply(_class, _options))
    call(f"compute_embeddings: {_name}")(_embed(_class, _options))
    if _class != "GetItemBrightness":
        call(f"compute_patch_embeddings: {_name}")(_embed_patches(_class, _options))


@call("apply_model: a missing file, skipped")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.add_sample(ground.fo.Sample(filepath="missing.jpg"))
    dataset.apply_model(_model("Brightness"), label_field="predictions")
    return dataset.values("predictions.label")


@call("apply_model: a missing file, not skipped", fails=True)
def _(ground: Ground) -> Any:
    dataset = ground.fo.Dataset.from_images(["missing.jpg"])
    dataset.apply_model(_model("Brightness"), label_field="predictions", skip_failures=False)


@call("apply_model: a missing file, skipped by PyTorch's data loader")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.add_sample(ground.fo.Sample(filepath="missing.jpg"))
    dataset.apply_model(_model("TorchBrightness"), label_field="predictions", batch_size=2, num_workers=0)
    return dataset.values("predictions.label")


@call("apply_model: a model that fails")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.apply_model(_model("Broken"), label_field="predictions")
    return dataset.values("predictions.label")


@call("apply_model: a video model", video=True)
def _(ground: Ground) -> Any:
    dataset = made.videos(ground)
    dataset.apply_model(_model("Length"), label_field="predictions")
    return dataset


@call("apply_model: an image model on the frames of videos", video=True)
def _(ground: Ground) -> Any:
    dataset = made.videos(ground)
    dataset.apply_model(_model("Brightness"), label_field="predictions")
    return dataset


@call("apply_model: an image model on frames on disk", video=True)
def _(ground: Ground) -> Any:
    frames = made.videos(ground).to_frames(sample_frames=True)
    frames.apply_model(_model("TorchBrightness"), label_field="predictions", batch_size=4, num_workers=0)
    return frames.values("predictions")


@call("apply_model: one slice of groups")
def _(ground: Ground) -> Any:
    dataset = made.groups(ground)
    dataset.select_group_slices("right").apply_model(_model("Brightness"), label_field="predictions")
    return dataset


@call("compute_embeddings: the frames of videos", video=True)
def _(ground: Ground) -> Any:
    return made.videos(ground).compute_embeddings(_model("Brightness"))


def _items(dataset: Any) -> list[Any]:
    # Iterating over one would go on for ever where failures are skipped: so is the end.
    return [dataset[i] for i in range(len(dataset))]


@call("to_torch: at once, and looked up each time")
def _(ground: Ground) -> Any:
    from tests.fiftyone.parity import own_models

    dataset, item = made.images(ground), own_models.get_item()
    return [_items(dataset.to_torch(item, vectorize=vectorize)) for vectorize in (True, False)]


@call("to_torch: by a data loader in other processes")
def _(ground: Ground) -> Any:
    import torch
    from fiftyone.utils.torch import FiftyOneTorchDataset

    from tests.fiftyone.parity import own_models

    dataset = made.images(ground).to_torch(own_models.get_item())
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=2, num_workers=2, worker_init_fn=FiftyOneTorchDataset.worker_init
    )
    return list(loader)


@call("TorchImageDataset: of samples, and of paths")
def _(ground: Ground) -> Any:
    import fiftyone.utils.torch as fout

    dataset = made.images(ground)
    paths = ["data/photos/china.jpg", "missing.jpg"]
    return (
        _items(fout.TorchImageDataset(samples=dataset, force_rgb=True, transform=_size)),
        _items(fout.TorchImageDataset(image_paths=paths, skip_failures=True)),
    )


@call("TorchImageClassificationDataset")
def _(ground: Ground) -> Any:
    import fiftyone.utils.torch as fout

    paths, targets = made.images(ground).values(["filepath", "ground_truth.label"])
    return _items(fout.TorchImageClassificationDataset(paths, targets, use_numpy=True))


@call("TorchImagePatchesDataset")
def _(ground: Ground) -> Any:
    import fiftyone.utils.torch as fout

    from tests.fiftyone.parity import own_models

    dataset = made.images(ground)
    return _items(
        fout.TorchImagePatchesDataset(
            samples=dataset, patches_field="detections", transform=own_models.tensor
        )
    )


def _size(image: Any) -> Any:
    return image.size
