"""The versions of FiftyOne that the adapter is for: what is refused, and what is declared elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from forebay.config.fiftyone_versions import NEWEST, OLDEST, refusal

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
INSIDE = ["1.10.0", "1.10.9", "1.15.0", "1.22.0", "1.22.1", "1.22.2rc1"]
OUTSIDE = ["0.25.2", "1.0.0", "1.9.0", "1.9.99", "1.23.0", "1.23.0.dev1", "2.0"]


@pytest.mark.parametrize("version", INSIDE)
def test_a_version_of_the_range_is_not_refused(version: str) -> None:
    assert refusal(version) is None


@pytest.mark.parametrize("version", OUTSIDE)
def test_any_other_is_refused_with_the_range_and_a_remedy(version: str) -> None:
    assert refusal(version) == (
        f"Forebay's adapter is for FiftyOne 1.10 to 1.22, and FiftyOne {version} is installed. "
        "FiftyOne stays as it is, without cloud media. Install a supported version: "
        "pip install 'forebay[fiftyone]'; or run: forebay fiftyone disable"
    )


def test_the_extra_installs_this_range() -> None:
    # Given what the extra asks for,
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    requirements = map(Requirement, project["optional-dependencies"]["fiftyone"])
    (allowed,) = (requirement.specifier for requirement in requirements if requirement.name == "fiftyone")
    # then it allows what the adapter is for, and nothing else.
    assert [version for version in INSIDE if not allowed.contains(version, prereleases=True)] == []
    assert [version for version in OUTSIDE if allowed.contains(version)] == []


@pytest.mark.parametrize(
    "page", ["docs/fiftyone.md", "docs/command-line.md", "docs/from-fiftyone-enterprise.md"]
)
def test_the_pages_name_this_range(page: str) -> None:
    assert f"FiftyOne {OLDEST} to {NEWEST}" in (REPOSITORY / page).read_text().replace("\n", " ")
