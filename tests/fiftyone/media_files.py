"""Media of every kind that FiftyOne knows, made on the spot: small, and always the same."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def write_all(directory: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Writes files by their relative names; gives their paths, in order."""
    paths = [directory / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return paths


def needs_ffmpeg() -> None:
    """Skips the test where there is no ffmpeg; the end of pytest's output says why."""
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        pytest.skip("ffmpeg is not installed; on Debian: sudo apt-get install ffmpeg")


def video(path: Path, *, frames: int = 8, size: tuple[int, int] = (96, 64), seed: int = 0) -> Path:
    """An H.264 video of a moving test picture, 8 frames a second.

    Args:
        seed: another gives other pixels.
    """
    needs_ffmpeg()
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = f"testsrc=size={size[0]}x{size[1]}:rate=8,hue=h={seed * 40}"
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "lavfi", "-i", picture]
    command += ["-frames:v", str(frames), "-pix_fmt", "yuv420p", "-fflags", "+bitexact", str(path)]
    subprocess.run(command, check=True)
    return path


def cut_video(path: Path) -> Path:
    """A video that was cut without encoding it anew: an edit list hides some of its frames."""
    whole = video(path.with_name(f"whole-{path.name}"), frames=72)
    command = ["ffmpeg", "-y", "-loglevel", "error", "-ss", "1.6", "-i", str(whole), "-c", "copy", str(path)]
    subprocess.run(command, check=True)
    return path


def point_cloud(path: Path, *, points: int = 50, seed: int = 0) -> Path:
    """A .pcd file of coloured points."""
    random = np.random.default_rng(seed)
    header = (
        "VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\n"
        f"WIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA ascii\n"
    )
    rows = [
        f"{x:.4f} {y:.4f} {z:.4f} {color}"
        for (x, y, z), color in zip(
            random.uniform(-1, 1, (points, 3)), random.integers(0, 1 << 24, points), strict=True
        )
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "\n".join(rows) + "\n")
    return path


def scene(path: Path, *, seed: int = 0) -> Path:
    """A .fo3d scene whose assets lie beside and below it: a point cloud, and a mesh with its texture.

    Returns:
        the scene; its assets are ``<stem>/cloud.pcd``, ``<stem>/box.obj``, ``<stem>/box.mtl``, and
        ``<stem>/box.png``, which the material names.
    """
    import fiftyone as fo

    folder = path.with_suffix("")
    point_cloud(folder / "cloud.pcd", seed=seed)
    (folder / "box.mtl").write_text("newmtl box\nKd 1 1 1\nmap_Kd box.png\n")
    (folder / "box.obj").write_text(
        "mtllib box.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nusemtl box\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n"
    )
    Image.new("RGB", (4, 4), (seed % 256, 80, 40)).save(folder / "box.png")
    built: Any = fo.Scene(camera=fo.PerspectiveCamera(up="Z"))
    built.add(fo.PointCloud("cloud", f"{folder.name}/cloud.pcd"))
    built.add(fo.ObjMesh("box", f"{folder.name}/box.obj", mtl_path=f"{folder.name}/box.mtl"))
    built.write(str(path))
    return path


def mask(path: Path, *, size: tuple[int, int] = (32, 24), seed: int = 0) -> Path:
    """A segmentation mask: a PNG of the values 0, 1 and 2."""
    values = np.random.default_rng(seed).integers(0, 3, size[::-1], dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def heatmap(path: Path, *, size: tuple[int, int] = (32, 24), seed: int = 0) -> Path:
    """A heatmap: a greyscale PNG of the values 0 to 255."""
    values = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path
