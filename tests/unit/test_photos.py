"""The photographs that tests, the demo and benchmarks use."""

from __future__ import annotations

import io
import re

from PIL import Image

from examples.photos import photographs


def test_they_are_real_distinct_and_named() -> None:
    files = dict(photographs(300))
    assert len(files) == len(set(files.values())) == 300
    for name, content in files.items():
        assert re.fullmatch(r"photos/[a-z]+/\d{4}\.jpg", name)
        assert 8_000 < len(content) < 250_000
    for name in list(files)[:20]:
        with Image.open(io.BytesIO(files[name])) as image:
            image.load()
            assert image.format == "JPEG"
            assert len(image.resize((16, 16)).getcolors()) > 50, "a photograph has many colours"


def test_the_same_seed_gives_the_same_files() -> None:
    assert list(photographs(30)) == list(photographs(40))[:30]
    assert not {content for _, content in photographs(30)} & {c for _, c in photographs(30, seed=1)}
