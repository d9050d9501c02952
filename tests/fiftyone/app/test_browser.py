"""Remote media in the App, as a browser shows them.

Each test looks for the media's own colours in a picture of the page, as Chromium has painted it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from examples.photos import whole
from tests.fiftyone.app.conftest import Gallery, pictures
from tests.fiftyone.app.media import Colour, area, half_mask, image, point_cloud, video
from tests.fiftyone.app.server import AppServer

RED, GREEN, BLUE, GREY, TEAL = (200, 30, 40), (30, 160, 60), (40, 60, 210), (120, 120, 120), (0, 140, 140)

NewDataset = Callable[..., Any]


def painted(page: Any, *colours: Colour, least: int = 1000, tolerance: int = 12, name: str = "") -> bytes:
    """Waits until each of these colours covers so many pixels of the page; gives the picture of it.

    Args:
        name: of the picture in the documentation.
    """
    deadline = time.monotonic() + 45
    while True:
        picture = page.screenshot()
        areas = {colour: area(picture, colour, tolerance) for colour in colours}
        if min(areas.values()) >= least:
            break
        if time.monotonic() > deadline:
            pytest.fail(f"not painted: {areas}; the page: {page.inner_text('body')[-600:]}")
    keep(page, name)
    return bytes(picture)


def keep(page: Any, name: str) -> None:
    """Takes a picture of the page for the documentation, if this run is to take them."""
    if name and (directory := pictures()) is not None:
        # What the App advertises lies over the media.
        page.evaluate(
            "() => [...document.querySelectorAll('button')].filter(one => one.innerText === 'Dismiss')"
            ".forEach(one => one.click())"
        )
        page.wait_for_timeout(500)
        page.mouse.move(640, 790)
        page.screenshot(path=directory / f"app-{name}.png")


# Where the things are in the photographs, as parts of their widths and heights.
THINGS: dict[str, list[tuple[str, list[float]]]] = {
    "astronaut": [("person", [0.04, 0.03, 0.66, 0.97]), ("helmet", [0.55, 0.67, 0.44, 0.33])],
    "chelsea": [("cat", [0.0, 0.0, 0.86, 1.0])],
    "china": [("pagoda", [0.1, 0.07, 0.47, 0.86])],
    "coffee": [("cup", [0.28, 0.04, 0.42, 0.74]), ("spoon", [0.53, 0.16, 0.18, 0.66])],
    "flower": [("dahlia", [0.26, 0.2, 0.44, 0.65])],
    "motorcycle": [("motorcycle", [0.12, 0.22, 0.81, 0.69])],
    "rocket": [("rocket", [0.46, 0.3, 0.08, 0.67])],
}


def test_a_grid_shows_photographs_of_a_bucket_with_their_labels(
    app: AppServer, page: Any, gallery: Gallery, new_dataset: NewDataset, imported_fiftyone: Any
) -> None:
    # given labelled photographs in S3, each of them whole and in parts
    fo, samples = imported_fiftyone, []
    for number, region in enumerate([(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.8, 0.9), (0.1, 0.1, 0.9, 0.9)]):
        for subject, things in THINGS.items():
            path = gallery.put("s3", f"photos/{subject}/{number}.jpg", part(whole(subject), region))
            found = [fo.Detection(label=label, bounding_box=within(box, region)) for label, box in things]
            samples.append(fo.Sample(filepath=path, objects=fo.Detections(detections=found)))
    dataset = new_dataset(*samples)
    show(dataset, "objects")
    dataset.name = f"photos-{uuid4().hex[:4]}"

    # when the dataset's page is opened
    page.goto(app.page(dataset))

    # then the photographs are there, which have more colours than all that the App draws itself
    deadline = time.monotonic() + 45
    while colours(page.screenshot()) < 20_000:
        assert time.monotonic() < deadline, page.inner_text("body")[-600:]
    # and it offers each label for filtering.
    page.get_by_text("objects", exact=True).first.wait_for()
    page.set_viewport_size({"width": 1280, "height": 560})
    keep(page, "photographs")


def part(photograph: bytes, region: tuple[float, float, float, float]) -> bytes:
    """What lies between two corners, given as parts of a photograph's width and height."""
    image, file = Image.open(io.BytesIO(photograph)), io.BytesIO()
    corners = [round(at * side) for at, side in zip(region, image.size * 2, strict=True)]
    image.crop((corners[0], corners[1], corners[2], corners[3])).save(file, "JPEG", quality=90)
    return file.getvalue()


def within(box: list[float], region: tuple[float, float, float, float]) -> list[float]:
    """A box (left, top, width, height) of a photograph, in a part of it."""
    left, top, right, bottom = region
    ends = [
        (max(box[0], left), min(box[0] + box[2], right), left, right),
        (max(box[1], top), min(box[1] + box[3], bottom), top, bottom),
    ]
    starts = [(begin - low) / (high - low) for begin, _, low, high in ends]
    return starts + [(end - begin) / (high - low) for begin, end, low, high in ends]


def colours(picture: bytes) -> int:
    """How many different ones a picture has."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3)
    return len(np.unique(pixels, axis=0))


def half_covered(page: Any) -> None:
    """Waits until the modal shows a grey image of four by three with a mask on its right half."""
    deadline = time.monotonic() + 45
    while True:
        pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
        grey = (abs(pixels - np.array(GREY)) <= 6).all(axis=2)
        width, height = int(grey.sum(axis=1).max()), int(grey.sum(axis=0).max())
        if height > 200 and 0.5 < width / height < 0.8:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"not painted: what is grey is {width} pixels wide and {height} high")


def show(dataset: Any, field: str) -> None:
    """Has the App show a field of labels, which it does not by itself when they cover whole images."""
    import fiftyone as fo

    dataset.app_config.active_fields = fo.ActiveFields(paths=[field])
    dataset.save()


def test_a_grid_shows_images_from_every_place(
    app: AppServer, page: Any, gallery: Gallery, new_dataset: NewDataset, imported_fiftyone: Any
) -> None:
    # given images in S3, in GCS, behind a URL, on this machine, and in Azure where Azurite can run
    colours = {"s3": RED, "gs": GREEN, "http": BLUE, "local": TEAL}
    colours |= {"az": GREY} if gallery.azure else {}
    paths = [gallery.put(place, f"grid/{place} 1.png", image(colour)) for place, colour in colours.items()]
    dataset = new_dataset(*(imported_fiftyone.Sample(filepath=path) for path in paths))

    # when the dataset's page is opened
    page.goto(app.page(dataset))

    # then all of them are there
    painted(page, *colours.values())


def test_the_modal_shows_an_image(
    app: AppServer, page: Any, gallery: Gallery, new_dataset: NewDataset, imported_fiftyone: Any
) -> None:
    uri = gallery.put("s3", "modal/100% of a+b & c#d.png", image(RED))
    dataset = new_dataset(imported_fiftyone.Sample(filepath=uri))

    page.goto(app.page(dataset, dataset.first()))

    painted(page, RED, least=50_000, name="modal")


def test_the_grid_shows_thumbnails_and_the_modal_the_images(
    app: AppServer, page: Any, gallery: Gallery, new_dataset: NewDataset, imported_fiftyone: Any
) -> None:
    # given a dataset whose grid is to show another field
    sample = imported_fiftyone.Sample(
        filepath=gallery.put("s3", "thumbnails/whole.png", image(RED)),
        thumbnail_path=gallery.put("gs", "thumbnails/small.png", image(GREEN)),
    )
    dataset = new_dataset(sample)
    dataset.app_config.media_fields = ["filepath", "thumbnail_path"]
    dataset.app_config.grid_media_field = "thumbnail_path"
    dataset.save()

    page.goto(app.page(dataset))
    picture = painted(page, GREEN)
    assert area(picture, RED) == 0

    page.goto(app.page(dataset, dataset.first()))
    painted(page, RED, least=50_000)


@pytest.mark.parametrize("keeps", [False, True], ids=["streaming", "caching"])
def test_what_looking_leaves_in_the_cache(
    keeps: bool,
    app: AppServer,
    keeping_app: AppServer,
    browser: Any,
    gallery: Gallery,
    new_dataset: NewDataset,
    imported_fiftyone: Any,
) -> None:
    # given images that the cache does not hold, and whose shape is known
    fo, server = imported_fiftyone, keeping_app if keeps else app
    shape = fo.ImageMetadata(width=160, height=120)
    colours = {"s3": RED, "gs": GREEN, "http": BLUE}
    uris = [
        gallery.put(place, f"looking/{keeps}-{place}.png", image(colour)) for place, colour in colours.items()
    ]
    dataset = new_dataset(*(fo.Sample(filepath=uri, metadata=shape) for uri in uris))
    assert server.cache.stats(uris)["current_count"] == 0

    # when they are looked at twice, with two browsers
    for _ in range(2):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(server.page(dataset), timeout=60_000)
        painted(page, *colours.values())
        context.close()

    # then they are cached, and were fetched once; or they were streamed each time
    assert server.cache.stats(uris)["current_count"] == (3 if keeps else 0)
    assert [len(gallery.asked(uri)) for uri in uris] == [1 if keeps else 2] * 3


@pytest.mark.parametrize("kind", ["segmentation", "heatmap", "detections"])
def test_masks_and_heatmaps_lie_over_their_images(
    kind: str, app: AppServer, page: Any, gallery: Gallery, new_dataset: NewDataset, imported_fiftyone: Any
) -> None:
    # given two images, one of them with a mask that covers its right half
    fo = imported_fiftyone
    covered = fo.Sample(filepath=gallery.put("s3", f"{kind}/covered.png", image(GREY)))
    bare = fo.Sample(filepath=gallery.put("s3", f"{kind}/bare.png", image(TEAL)))
    mask = gallery.put("gs", f"{kind}/mask.png", half_mask())
    if kind == "segmentation":
        covered["label"] = fo.Segmentation(mask_path=mask)
    elif kind == "heatmap":
        covered["label"] = fo.Heatmap(map_path=mask, range=[0, 1])
    else:
        box = fo.Detection(label="half", bounding_box=[0, 0, 1, 1], mask_path=mask)
        covered["label"] = fo.Detections(detections=[box])
    dataset = new_dataset(covered, bare)
    show(dataset, "label")

    page.goto(app.page(dataset))

    # then half of the one is seen, and all of the other
    painted(page, GREY, TEAL)
    page.wait_for_function("() => document.querySelectorAll('canvas').length >= 2")
    deadline = time.monotonic() + 30
    while True:
        picture = painted(page, GREY, TEAL, tolerance=2, name=kind)
        share = area(picture, GREY, 2) / area(picture, TEAL, 2)
        if 0.3 < share < 0.7 or time.monotonic() > deadline:
            break
    assert 0.3 < share < 0.7
    assert gallery.asked(mask)

    # and in the modal, half of the one
    page.goto(app.page(dataset, covered))
    half_covered(page)


@pytest.mark.parametrize("keeps", [False, True], ids=["streaming", "caching"])
def test_a_video_plays_and_seeks(
    keeps: bool,
    app: AppServer,
    keeping_app: AppServer,
    page: Any,
    gallery: Gallery,
    new_dataset: NewDataset,
    imported_fiftyone: Any,
    tmp_path: Path,
) -> None:
    # given a large video that is red, then green, then blue
    server = keeping_app if keeps else app
    file = video(tmp_path / "three.mp4", [RED, GREEN, BLUE], seconds=6, noise=True)
    uri = gallery.put("s3", f"video/{keeps}-three.mp4", file.read_bytes())
    dataset = new_dataset(imported_fiftyone.Sample(filepath=uri))

    before = server.cached()

    # when it is shown in the grid, its first frame is there
    page.goto(server.page(dataset))
    painted(page, RED, least=5000, tolerance=25)

    # when its modal is opened, the first frame is there
    page.goto(server.page(dataset, dataset.first()))
    painted(page, RED, least=20_000, tolerance=25)

    # when it is played, the pictures move
    page.mouse.move(400, 400)
    page.keyboard.press("Space")
    painted(page, GREEN, least=20_000, tolerance=25)
    page.keyboard.press("Space")

    # when the sixteenth of its eighteen seconds is clicked at, that is where it is
    page.mouse.click(850, 755)
    painted(page, BLUE, least=20_000, tolerance=25, name="video")

    # and what lies there was asked for, rather than everything before it
    starts = [int(r.range.removeprefix("bytes=").partition("-")[0]) for r in gallery.asked(uri) if r.range]
    assert max(starts) > file.stat().st_size * 0.5

    # and nothing was cached, whatever is done with images
    assert server.cached() == before


def test_the_masks_on_the_frames_of_a_video(
    app: AppServer,
    page: Any,
    gallery: Gallery,
    new_dataset: NewDataset,
    imported_fiftyone: Any,
    tmp_path: Path,
) -> None:
    fo = imported_fiftyone
    file = video(tmp_path / "one.mp4", [GREY], seconds=1)
    uri = gallery.put("s3", "frames/one.mp4", file.read_bytes())
    mask = gallery.put("s3", "frames/mask.png", half_mask((320, 240)))
    shape = fo.VideoMetadata(
        frame_width=320, frame_height=240, frame_rate=10, total_frame_count=10, duration=1
    )
    sample = fo.Sample(filepath=uri, metadata=shape)
    for number in range(1, 11):
        sample.frames[number] = fo.Frame(label=fo.Segmentation(mask_path=mask))
    dataset = new_dataset(sample)
    show(dataset, "frames.label")

    page.goto(app.page(dataset, dataset.first()))

    # then half of the first frame is covered, before it is played
    painted(page, GREY, least=20_000, tolerance=6)
    half_covered(page)
    assert gallery.asked(mask)

    # and so are the others while it is played
    page.mouse.move(400, 400)
    page.keyboard.press("Space")
    half_covered(page)


def test_a_scene_shows_its_assets(
    app: AppServer,
    page: Any,
    gallery: Gallery,
    new_dataset: NewDataset,
    imported_fiftyone: Any,
    tmp_path: Path,
) -> None:
    # given a scene of a point cloud beside it, and of a box whose material names a texture
    fo = imported_fiftyone
    gallery.put("s3", "scenes/clouds/a cloud.pcd", point_cloud((255, 0, 255)))
    gallery.put("s3", "scenes/box/box.obj", BOX.encode())
    gallery.put("s3", "scenes/box/box.mtl", b"newmtl box\nKd 1 1 1\nmap_Kd textures/paint.png\n")
    gallery.put("s3", "scenes/box/textures/paint.png", image((0, 255, 0), (16, 16)))
    scene: Any = fo.Scene(camera=fo.PerspectiveCamera(position=[0, -6, 2], look_at=[0, 0, 0], up="Z"))
    shown = fo.PointCloudMaterial(shading_mode="custom", custom_color="#ff00ff", point_size=3)
    scene.add(fo.PointCloud("cloud", "clouds/a cloud.pcd", material=shown))
    scene.add(fo.ObjMesh("box", "box/box.obj", mtl_path="box/box.mtl"))
    scene.write(str(tmp_path / "s.fo3d"))
    uri = gallery.put("s3", "scenes/s.fo3d", (tmp_path / "s.fo3d").read_bytes())
    dataset = new_dataset(fo.Sample(filepath=uri))

    page.goto(app.page(dataset, dataset.first()))

    # then the texture is on the box, and the cloud beside it
    painted(page, (0, 255, 0), least=300, tolerance=100)
    painted(page, (255, 0, 255), least=50, tolerance=100, name="scene")


BOX = """mtllib box.mtl
v 1 -1 -1
v 3 -1 -1
v 3 -1 1
v 1 -1 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vn 0 -1 0
usemtl box
f 1/1/1 2/2/1 3/3/1
f 1/1/1 3/3/1 4/4/1
"""


def test_a_group_shows_its_slices(
    app: AppServer, page: Any, gallery: Gallery, new_dataset: NewDataset, imported_fiftyone: Any
) -> None:
    # given a group of an image in S3 and one in GCS
    fo = imported_fiftyone
    dataset = new_dataset()
    dataset.add_group_field("group", default="left")
    group = fo.Group()
    left = fo.Sample(filepath=gallery.put("s3", "groups/l.png", image(RED)), group=group.element("left"))
    right = fo.Sample(filepath=gallery.put("gs", "groups/r.png", image(GREEN)), group=group.element("right"))
    dataset.add_samples([left, right])

    # then the grid shows its default slice
    page.goto(app.page(dataset))
    painted(page, RED)

    # and the modal both
    page.goto(f"{app.page(dataset)}?groupId={group.id}&id={left.id}")
    painted(page, RED, GREEN, name="group")
