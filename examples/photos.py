"""Real photographs for a bucket: crops of those that scikit-image and scikit-learn ship.

Neither package is imported, so both can be installed without their dependencies.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from PIL import Image

_PHOTOGRAPHS = {
    "astronaut": ("scikit-image", "skimage/data/astronaut.png"),
    "chelsea": ("scikit-image", "skimage/data/chelsea.png"),
    "china": ("scikit-learn", "sklearn/datasets/images/china.jpg"),
    "coffee": ("scikit-image", "skimage/data/coffee.png"),
    "flower": ("scikit-learn", "sklearn/datasets/images/flower.jpg"),
    "hubble": ("scikit-image", "skimage/data/hubble_deep_field.jpg"),
    "motorcycle": ("scikit-image", "skimage/data/motorcycle_left.png"),
    "retina": ("scikit-image", "skimage/data/retina.jpg"),
    "rocket": ("scikit-image", "skimage/data/rocket.jpg"),
    "tissue": ("scikit-image", "skimage/data/ihc.png"),
}


def photographs(count: int, *, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``count`` JPEG files of 10 to 200 KB, no two alike, named as in ``photos/chelsea/0007.jpg``.

    Args:
        seed: the same seed always gives the same files; another gives other files of the same names.
    """
    rng, subjects = random.Random(seed), list(_PHOTOGRAPHS)
    for i in range(count):
        subject = subjects[i % len(subjects)]
        name = f"photos/{subject}/{i // len(subjects):04}.jpg"
        yield name, _crop(subject, rng, comment=f"{name}, seed {seed}")


def whole(subject: str) -> bytes:
    """The photograph of a subject, uncropped, as a JPEG file of at most 800 pixels."""
    file = io.BytesIO()
    _photograph(subject).save(file, "JPEG", quality=90)
    return file.getvalue()


def _crop(subject: str, rng: random.Random, *, comment: str) -> bytes:
    whole = _photograph(subject)
    width, height = (int(side * rng.uniform(0.6, 0.95)) for side in whole.size)
    left, top = rng.randint(0, whole.width - width), rng.randint(0, whole.height - height)
    crop = whole.crop((left, top, left + width, top + height))
    file = io.BytesIO()
    # The comment makes each file unique, even if two crops are the same.
    crop.save(file, "JPEG", quality=rng.randint(80, 95), comment=comment)
    return file.getvalue()


@cache
def _photograph(subject: str) -> Image.Image:
    package, path = _PHOTOGRAPHS[subject]
    try:
        file = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError:
        raise RuntimeError(f"{package}, whose photographs are used, is not installed: make setup") from None
    with Image.open(file) as image:
        photograph: Image.Image = image.convert("RGB")
    photograph.thumbnail((800, 800))
    return photograph
