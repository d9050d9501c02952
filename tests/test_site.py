"""The documentation as a site: it builds strictly, needs nothing from elsewhere, and has the whole API."""

from __future__ import annotations

import contextlib
import functools
import html
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, sync_playwright

import forebay
from forebay import errors
from forebay.cvat import CvatServer, ManifestReport
from tests.documentation import REPOSITORY
from tests.fiftyone.app.browser import FLAGS

ERRORS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]
CLASSES = filter(inspect.isclass, (getattr(forebay, name) for name in forebay.__all__))
PUBLIC = [*(kind for kind in CLASSES if kind not in ERRORS), ManifestReport, CvatServer]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make lint` builds it."""
    directory = tmp_path_factory.mktemp("site")
    status, output = build(REPOSITORY / "mkdocs.yml", directory)
    assert status == 0, output
    return directory


def build(config: Path, directory: Path) -> tuple[int, str]:
    """Builds a site strictly: the status, and what was said. With ``--quiet``, strictness counts nothing."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(
        [*command, "--config-file", str(config), "--site-dir", str(directory)],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?https?://[^>]*|<link\b[^>]*>")
    foreign = [
        f"{page.name}: {tag}"
        for page in site.rglob("*.html")
        for tag in loaded.findall(page.read_text())
        if not tag.startswith("<link") or re.search(r"rel=\"?(stylesheet|preconnect|icon|preload)", tag)
        if "://" in tag
    ]
    assert not foreign


@pytest.mark.parametrize("kind", PUBLIC)
def test_the_page_about_the_api_has_every_method(site: Path, kind: type) -> None:
    text = (site / "api.html").read_text()
    methods = inspect.getmembers(kind, inspect.isfunction)
    names = [name for name, value in methods if value.__module__.startswith("forebay")]
    public = [name for name in names if not name.startswith("_")]
    missing = [name for name in public if f'id="{kind.__module__}.{kind.__qualname__}.{name}"' not in text]
    assert f'href="#{kind.__name__.lower()}"' in text
    assert not missing


def test_the_page_about_the_api_has_every_error_and_its_data(site: Path) -> None:
    text = (site / "api.html").read_text()
    assert len(ERRORS) > 10
    assert [kind for kind in ERRORS if f'id="forebay.errors.{kind.__name__}"' not in text] == []
    assert {"needed", "limit", "held", "failures", "attempts"} <= keys(text)


def test_the_page_about_the_api_has_every_key_of_the_statistics(site: Path) -> None:
    assert forebay.CacheStats.__annotations__.keys() <= keys((site / "api.html").read_text())


def keys(text: str) -> set[str]:
    """The names in lists of parameters and attributes."""
    return set(re.findall(r"<li[^>]*>\s*<b><code>(?:<[^>]*>)*(\w+)", text))


def sections(text: str, title: str) -> list[list[str]]:
    """The rows of all sections of docstrings with a title, such as ``Returns``."""
    lists = re.findall(rf"<span class=\"doc-section-title\">{title}:</span></p>\s*<ul>(.*?)</ul>", text, re.S)
    return [re.findall(r"<li[^>]*>(.*?)</li>", rows, re.S) for rows in lists]


def shown(page: str) -> str:
    """The text of a page, without its menus."""
    article = page[page.index("<article") : page.index("</article")]
    return html.unescape(re.sub(r"<[^>]*>", "", article))


@pytest.mark.parametrize("title", ["Returns", "Yields"])
def test_the_value_of_a_call_is_one_row(site: Path, title: str) -> None:
    found = sections((site / "api.html").read_text(), title)

    assert len(found) >= (10 if title == "Returns" else 1)
    assert [rows for rows in found if len(rows) != 1] == []


def test_the_page_about_the_api_begins_with_operations(site: Path) -> None:
    text = (site / "api.html").read_text()
    titles = re.findall(r'<h2 id="([^"]*)"', text)
    methods = re.findall(r'<h3 id="forebay.cache.MediaCache.([^"]*)"', text)

    assert titles[0] == "mediacache"
    assert methods[:4] == ["local_path", "open", "get_local_paths", "download_media"]


def test_the_page_about_the_api_shows_nothing_private(site: Path) -> None:
    words = set(re.findall(r"\w+", shown((site / "api.html").read_text())))

    # The last two are fields of samples from tar shards, as WebDataset calls them.
    known = {"__all__", "_repr_html_", "__key__", "__url__"}
    private = {word for word in words if word.startswith("_")} - known
    internals = {
        "Engine",
        "engine",
        "Index",
        "Dispatcher",
        "dispatcher",
        "Fetcher",
        "fetcher",
        "Sources",
        "AbsentFiles",
    }
    assert private | (words & internals) == set()


def test_a_link_to_a_file_of_the_repository_shows_the_file(site: Path) -> None:
    assert "repository/bench/programs/obstore_threads.py.html" in (site / "benchmarks.html").read_text()
    shown = (site / "repository/bench/programs/obstore_threads.py.html").read_text()
    assert "import" in shown


@pytest.fixture(scope="module")
def page(site: Path) -> Iterator[Page]:
    """A page in Chromium, with the quickstart in it, as a web server gives it."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed; on Debian: sudo apt-get install chromium")
    with contextlib.ExitStack() as stack:
        handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        chromium = stack.enter_context(sync_playwright()).chromium
        browser = stack.enter_context(chromium.launch(executable_path=path, args=list(FLAGS)))
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/quickstart.html")
        yield page


def test_the_button_of_a_console_block_copies_commands_only(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".highlight [data-clipboard-target]").first.click()
    assert page.evaluate("navigator.clipboard.readText()").splitlines() == [
        "forebay prefetch s3://photos/chelsea/",
        "forebay get s3://photos/chelsea/0000.jpg",
        "forebay stats",
    ]


def test_no_name_in_a_table_is_broken_within_a_word(page: Page) -> None:
    page.set_viewport_size({"width": 500, "height": 800})
    page.goto(page.url.replace("quickstart", "settings"))
    codes = page.locator("td code")
    broken = codes.evaluate_all(
        "found => found.filter(one => !/[ -]/.test(one.innerText) && one.getClientRects().length > 1)"
        ".map(one => one.innerText)"
    )
    assert codes.count() > 100
    assert broken == []


# What lies beyond the right edge of the screen, and what can be seen only by scrolling to the side.
HIDDEN = """() => {
  const width = document.documentElement.clientWidth
  // Blanks at the end of a line that is continued hang over.
  const hasText = one => one.innerText.trim() || one.tagName === "IMG"
  const cut = one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible"
  const found = [...document.querySelectorAll("article, article *")].filter(one => {
    const box = one.getBoundingClientRect()
    const seen = box.width > 1 && getComputedStyle(one).visibility === "visible"
    return seen && hasText(one) && (box.right > width + 1 || cut(one))
  })
  return found.map(one => `${one.tagName} ${one.innerText.slice(0, 60)}`)
}"""


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "telephone"])
def test_no_page_is_wider_than_the_screen(page: Page, site: Path, width: int) -> None:
    # given a screen of this width
    page.set_viewport_size({"width": width, "height": 900})
    names = [file.relative_to(site).as_posix() for file in sorted(site.rglob("*.html"))]
    assert len(names) > 50

    # when every page is opened
    hidden = {}
    for name in names:
        page.goto(re.sub(r"(:\d+)/.*", rf"\1/{name}", page.url))
        hidden[name] = page.evaluate(HIDDEN)

    # then all of it is on the screen, without scrolling to the side
    assert {name: found for name, found in hidden.items() if found} == {}


def test_a_table_on_a_telephone_names_its_columns(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(re.sub(r"(:\d+)/.*", r"\1/settings.html", page.url))
    cells = page.locator("article table").first.locator("tbody tr").first.locator("td")

    titles = cells.evaluate_all("found => found.map(one => getComputedStyle(one, '::before').content)")

    assert titles[:3] == ['"setting: "', '"environment variable: "', '"default: "']


class TestABrokenSite:
    """A build that overlooks a mistake makes every page pass."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        """The configuration of a small site, with the rules of the real one."""
        text = (REPOSITORY / "mkdocs.yml").read_text()
        config = yaml.unsafe_load(text)
        config["nav"] = [{"First": "index.md"}]
        config["hooks"] = [str(REPOSITORY / "scripts" / "site_pages.py")]
        del config["plugins"][1:]
        (tmp_path / "docs").mkdir()
        (tmp_path / "mkdocs.yml").write_text(yaml.dump(config))
        return tmp_path / "mkdocs.yml"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("# Good\n\n[itself](#good), [a file](../mkdocs.yml)\n", ""),
            ("[dead](nowhere.md)\n", "'nowhere.md', but the target is not found"),
            ("[dead](../nowhere.py)\n", "'../nowhere.py', but the target is not found"),
            ("[dead](#nowhere)\n", "'#nowhere', but there is no such anchor"),
            ("[absolute](/index.md)\n", "absolute link '/index.md'"),
        ],
    )
    def test_a_dead_link_fails(self, config: Path, text: str, message: str) -> None:
        (config.parent / "docs" / "index.md").write_text(text)
        status, output = build(config, config.parent / "site")
        assert (status == 0) is (not message), output
        assert message in output

    def test_a_page_that_no_menu_leads_to_fails(self, config: Path) -> None:
        (config.parent / "docs" / "index.md").write_text("# First\n")
        (config.parent / "docs" / "other.md").write_text("# Other\n")
        status, output = build(config, config.parent / "site")
        assert status != 0
        assert "other.md" in output
