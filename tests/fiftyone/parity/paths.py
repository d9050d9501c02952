"""Calls: samples, and the paths that they are made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fiftyone.parity import made
from tests.fiftyone.parity.record import Ground, call

_PATHS = {
    "absolute": "/data/photo.jpg",
    "relative": "data/photos/china.jpg",
    "in the working directory": "photo.jpg",
    "of the home directory": "~/photos/photo.jpg",
    "with parents": "a/../../b/./photo.jpg",
    "with doubled slashes": "//data///photo.jpg",
    "ending in a slash": "data/photos/",
    "with a colon": "a:b.jpg",
    "like a scheme with one slash": "s3:/x",
    "like a scheme without slashes": "s3:x.jpg",
    "like a drive": "C:\\photos\\photo.jpg",
    "of another scheme": "file:///data/photo.jpg",
    "of a scheme that nobody has": "ftp2://host/photo.jpg",
    "with a scheme further on": "data/s3://bucket/photo.jpg",
    "with a space": " a photo.jpg ",
    "of other letters": "fotos/ünïcödé-写真-🙂.jpg",
    "with a query": "photo.jpg?x=1#y",
    "with a percent sign": "a%20photo.jpg",
    "of nothing but a dot": ".",
    "that is empty": "",
    "without an extension": "photo",
    "of a video": "video.mp4",
    "of a point cloud": "cloud.pcd",
    "of a scene": "scene.fo3d",
}


def _sample(path: str) -> Any:
    def make(ground: Ground) -> Any:
        sample = ground.fo.Sample(filepath=path)
        return sample.filepath, sample.filename, sample.media_type

    return make


for _name, _path in _PATHS.items():
    call(f"Sample: a path {_name}")(_sample(_path))


@call("Sample: a Path")
def _(ground: Ground) -> Any:
    return ground.fo.Sample(filepath=Path("data/photos/china.jpg"))


@call("Sample: no path", fails=True)
def _(ground: Ground) -> Any:
    return ground.fo.Sample()


@call("Sample: None as its path", fails=True)
def _(ground: Ground) -> Any:
    return ground.fo.Sample(filepath=None)


@call("Sample: a number as its path", fails=True)
def _(ground: Ground) -> Any:
    return ground.fo.Sample(filepath=5)


@call("Sample: another path later")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    sample = dataset.first()
    sample.filepath = "relative/later.jpg"
    sample.save()
    dataset.reload()
    return dataset.first().filepath, dataset.last().filename


@call("Sample: copied, and as a dictionary")
def _(ground: Ground) -> Any:
    sample = made.images(ground).first()
    return sample.copy(), ground.fo.Sample.from_dict(sample.to_dict())


@call("Sample: a path that a dataset has already", fails=False)
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.add_sample(ground.fo.Sample(filepath=ground.photos[0]))
    return dataset.count(), len(dataset.distinct("filepath"))


@call("set_values: relative and absolute paths")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.set_values("filepath", ["a.jpg", "/b.jpg", "c:d.jpg", "~/e.jpg", "s3:/f"])
    return dataset.values("filepath")


@call("a sample looked up by its path")
def _(ground: Ground) -> Any:
    return made.images(ground)[ground.photos[1]]


@call("a sample looked up by a relative path", fails=True)
def _(ground: Ground) -> Any:
    return made.images(ground)["data/photos/china.jpg"]


@call("views by path: match, sort_by, select_by, exclude_by, to_dict")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    field = ground.fo.ViewField("filepath")
    return (
        dataset.match(field.ends_with("china.jpg")).values("filepath"),
        dataset.sort_by("filepath", reverse=True).values("filepath"),
        dataset.select_by("filepath", ground.photos[:2]).values("filepath"),
        dataset.exclude_by("filepath", ground.photos[:2]).values("filepath"),
        dataset.distinct("filepath"),
        len(dataset.to_dict()["samples"]),
    )
