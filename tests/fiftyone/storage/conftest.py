"""fiftyone.core.storage, and folders in every place that it can write to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fiftyone.places import EVERY, Places


@pytest.fixture
def fos(fo: Any) -> Any:
    """The module ``fiftyone.core.storage``, with the adapter on."""
    import fiftyone.core.storage as fos

    return fos


# Azure, where Azurite can run.
_CLOUDS = [place for place in EVERY if place != "http"]


@pytest.fixture(params=[*_CLOUDS, "local"])
def root(request: pytest.FixtureRequest, places: Places) -> str:
    """A folder that can be written, in each place in turn. What holds in all of them is what FiftyOne says
    of local files."""
    return places.root(request.param) + "root"


@pytest.fixture(params=_CLOUDS)
def cloud(request: pytest.FixtureRequest, places: Places) -> str:
    """A folder in each kind of bucket in turn."""
    return places.root(request.param) + "root"


@pytest.fixture
def tree(fos: Any, root: str) -> str:
    """A folder with a few files and subfolders."""
    names = ["a.jpg", "b.txt", ".hidden", "sub/c.jpg", "sub/deep/d.jpg", "other/e.png"]
    for name in names:
        fos.write_file(name, f"{root}/{name}")
    return root
