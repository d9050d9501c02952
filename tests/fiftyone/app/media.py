"""Media that a picture of the rendered page can be searched for: each of one colour that is its own."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fiftyone.media_files import needs_ffmpeg

Colour = tuple[int, int, int]


def image(colour: Colour, size: tuple[int, int] = (160, 120)) -> bytes:
    """A PNG file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def half_mask(size: tuple[int, int] = (160, 120)) -> bytes:
    """A mask: nothing on the left, class 1 on the right."""
    values = np.zeros(size[::-1], dtype=np.uint8)
    values[:, size[0] // 2 :] = 1
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def video(path: Path, colours: list[Colour], *, seconds: int = 4, noise: bool = False) -> Path:
    """An H.264 video that shows each colour for so long.

    Args:
        noise: with a stripe of noise along its lower edge, so that it is large.
    """
    needs_ffmpeg()
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ffmpeg", "-y", "-loglevel", "error"]
    for r, g, b in colours:
        command += [
            "-f",
            "lavfi",
            "-i",
            f"color=0x{r:02x}{g:02x}{b:02x}:size=320x240:rate=10:duration={seconds}",
        ]
    joined = "".join(f"[{i}]" for i in range(len(colours)))
    filters = f"{joined}concat=n={len(colours)}"
    if noise:
        filters += ",split[a][b];[b]crop=320:80:0:160,noise=alls=100:allf=t[n];[a][n]overlay=0:160"
    command += ["-filter_complex", filters, "-pix_fmt", "yuv420p", "-g", "10", "-movflags", "+faststart"]
    if noise:
        command += ["-qp", "4", "-preset", "ultrafast"]
    subprocess.run([*command, str(path)], check=True)
    return path


def point_cloud(colour: Colour, *, points: int = 4000) -> bytes:
    """A .pcd file of points of one colour, close together."""
    r, g, b = colour
    header = (
        "VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\n"
        f"WIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA ascii\n"
    )
    random = np.random.default_rng(0)
    rows = [
        f"{x:.4f} {y:.4f} {z:.4f} {r << 16 | g << 8 | b}" for x, y, z in random.uniform(-1, 1, (points, 3))
    ]
    return (header + "\n".join(rows) + "\n").encode()


def area(picture: bytes, colour: Colour, tolerance: int = 12) -> int:
    """Counts the pixels of a picture that have a colour, each channel within a tolerance."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return int((abs(pixels - np.array(colour)) <= tolerance).all(axis=2).sum())
