"""The media that the calls work on."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image

from examples.photos import photographs
from tests.fiftyone import media_files


def write(directory: Path) -> None:
    """Writes photographs, videos (where there is ffmpeg), masks, point clouds and a scene.

    FiftyOne is needed for the scene.
    """
    photos = directory / "photos"
    photos.mkdir(parents=True)
    for name, content in photographs(3):
        with Image.open(io.BytesIO(content)) as photo:
            photo.thumbnail((160, 160))
            photo.save(photos / f"{name.split('/')[1]}.jpg")
    with Image.open(photos / "china.jpg") as photo:
        exif = Image.Exif()
        exif[0x0112] = 6
        photo.save(photos / "rotated.jpg", exif=exif)
        photo.convert("L").save(photos / "grey.png")
    if shutil.which("ffmpeg"):
        for i in range(2):
            media_files.video(directory / "videos" / f"video-{i}.mp4", seed=i)
    for i in range(5):
        media_files.mask(directory / "masks" / f"mask-{i}.png", seed=i)
        media_files.heatmap(directory / "heatmaps" / f"heatmap-{i}.png", seed=i)
    for i in range(2):
        media_files.point_cloud(directory / "clouds" / f"cloud-{i}.pcd", seed=i)
    media_files.scene(directory / "scenes" / "scene.fo3d")
