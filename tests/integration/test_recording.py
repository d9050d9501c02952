"""The recorded terminal of the README, recorded again."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def lines(svg: str) -> str:
    """The text of a recording, with its blanks."""
    texts = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return "".join(one.text or "" for one in texts).replace("\xa0", " ")


def check(svg: str) -> None:
    assert "600 of 600 samples cached, 600 downloaded" in lines(svg)
    assert "600 of 600 samples cached, all already cached" in lines(svg)
    # nothing of this machine, and nothing that a browser would load
    assert not re.search(r"/tmp|/home|@import|url\((?!#)|href", svg)


def test_it_shows_a_real_run(tmp_path: Path) -> None:
    file = tmp_path / "prefetch.svg"
    subprocess.run([sys.executable, REPOSITORY / "scripts" / "recording", file], check=True, timeout=100)

    check(file.read_text())


def test_the_readme_shows_such_a_run() -> None:
    assert "docs/images/prefetch.svg" in (REPOSITORY / "README.md").read_text()
    check((REPOSITORY / "docs" / "images" / "prefetch.svg").read_text())
