"""What a notebook shows of a job, run by a real kernel, and what of it is saved."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from tests.commands import COMMAND, Forebay
from tests.fiftyone.app.browser import FLAGS
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")

COUNT = 40


class Recorded(NotebookClient):  # type: ignore[misc]
    """Runs a notebook, and keeps what its kernel had the browser show."""

    shown: list[dict[str, Any]]

    def process_message(self, message: Any, cell: Any, cell_index: int) -> Any:
        if message["msg_type"] in ("display_data", "update_display_data"):
            self.shown.append(message["content"])
        return super().process_message(message, cell, cell_index)


@pytest.fixture
def prefix(s3_server: S3Server, s3_bucket: str) -> str:
    s3_server.put_many(s3_bucket, {f"{number}.jpg": b"x" * 1000 for number in range(COUNT)})
    return f"s3://{s3_bucket}/"


def run(tmp_path: Path, forebay: Forebay, *cells: str) -> tuple[Recorded, list[Any]]:
    """Runs cells; the client, and the outputs of each cell as they are saved."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    environment = forebay.environment() | {"IPYTHONDIR": str(tmp_path / "ipython")}
    client = Recorded(notebook, timeout=120, kernel_name="python3")
    client.shown = []
    client.execute(env=environment)
    return client, [cell.outputs for cell in notebook.cells]


def looping(prefix: str, call: str) -> str:
    return f"import forebay\nuris = ['{prefix}%d.jpg' % n for n in range({COUNT})]\n{call}"


@pytest.mark.parametrize(
    "call",
    [
        "forebay.download_media(uris);",
        "forebay.get_local_paths(uris);",
        "with forebay.download_context(uris, progress=True) as paths:\n    for path in paths: pass",
    ],
    ids=["download_media", "get_local_paths", "download_context"],
)
def test_progress_is_one_output_that_is_replaced(
    tmp_path: Path, forebay: Forebay, prefix: str, call: str
) -> None:
    client, [outputs] = run(tmp_path, forebay, looping(prefix, call))

    # then the browser was shown several states, of one output,
    assert len(client.shown) >= 2
    assert len({content["transient"]["display_id"] for content in client.shown}) == 1
    # of which the last one is saved, and nothing beside it.
    [saved] = outputs
    assert re.fullmatch(rf"(job \w+: )?{COUNT}/{COUNT} samples, .+", saved["data"]["text/plain"])
    page, _ = HTMLExporter().from_notebook_node(client.nb)
    assert page.count("<progress") == 1
    assert saved["data"]["text/html"].startswith(f'<progress value="{COUNT}" max="{COUNT}"')


def tables(outputs: list[Any]) -> list[str]:
    return [output["data"]["text/html"] for output in outputs if "data" in output]


def test_what_calls_return_is_shown_as_tables(tmp_path: Path, forebay: Forebay, prefix: str) -> None:
    name = "<script>document.title = 'owned'</script>"
    # given cells whose last line is what a call returns
    client, outputs = run(
        tmp_path,
        forebay,
        "import forebay\nforebay.media_cache.jobs()",
        "forebay.leases()",
        looping(prefix, "uris.append(uris[0] + '.missing')\nforebay.download_media(uris, progress=False)"),
        "lease = forebay.lease(uris, '1h', name=" + repr(name) + ")\nlease",
        "forebay.leases()",
        "forebay.media_cache.jobs()",
        "forebay.media_cache.jobs()[0]",
        "forebay.media_cache.jobs()[0] == forebay.job(forebay.media_cache.jobs()[0].id).status()",
        "forebay.job(forebay.media_cache.jobs()[0].id).failures()",
        "forebay.stats()",
        "lease.end()\nlease",
        "forebay.Volumes().list()",
    )

    # then each is shown as a table of its values
    assert outputs.pop(7)[0]["data"]["text/plain"] == "True"
    found = [html for cell in outputs for html in tables(cell)]
    no_jobs, no_leases, job, lease, leases, jobs, status, failures, stats, ended, volumes = found
    assert (no_jobs, no_leases) == ("<em>no jobs</em>", "<em>no leases</em>")
    for one in (job, jobs, status):
        assert f">{COUNT + 1}/{COUNT + 1}<" in one
        assert ">done<" in one
    for one in (lease, leases, ended):
        assert ">&lt;script&gt;" in one
        assert "<script>" not in one
    assert ">60 min<" in leases
    assert ">has ended<" in ended
    assert f"{prefix}0.jpg.missing<" in failures
    assert "no such object (404 Not Found: NoSuchKey)" in failures
    assert f">{COUNT}<" in stats
    assert ">39.1KB of 128.0GB (0.0%)<" in stats
    assert ">default<" in volumes
    # and the text for other viewers is what it was
    assert outputs[8][0]["data"]["text/plain"].startswith("{'cache_dir': ")
    # and the page that is made of the notebook runs no script of a name
    page, _ = HTMLExporter().from_notebook_node(client.nb)
    assert "<script>document.title" not in page
    assert page.count("&lt;script&gt;document.title") >= 3


# The contrast of each cell's text with what is behind it, as WCAG has it.
CONTRASTS = """() => {
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const light = rgb => {
        const linear = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = rgb.slice(0, 3).map(linear);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        for (; element; element = element.parentElement) {
            const found = numbers(getComputedStyle(element).backgroundColor);
            if (found.length < 4 || found[3] > 0.99) return found;
        }
        return [255, 255, 255];
    };
    return [...document.querySelectorAll('.jp-OutputArea-output th, .jp-OutputArea-output td')].map(cell => {
        const [a, b] = [light(numbers(getComputedStyle(cell).color)), light(behind(cell))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_tables_can_be_read_on_light_and_on_dark_pages(
    theme: str, tmp_path: Path, forebay: Forebay, prefix: str
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; on Debian: sudo apt-get install chromium")
    # given the page of a notebook with tables
    name = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    client, _ = run(
        tmp_path,
        forebay,
        looping(prefix, "forebay.download_media(uris, progress=False)"),
        f"lease = forebay.lease(uris, '1h', name={name!r})\nforebay.leases()",
        "forebay.stats()",
    )
    page = tmp_path / "page.html"
    page.write_text(HTMLExporter(theme=theme).from_notebook_node(client.nb)[0])

    # when a browser shows it
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=list(FLAGS))
        shown = browser.new_page(color_scheme=theme, offline=True)
        shown.goto(page.as_uri())
        contrasts, title = shown.evaluate(CONTRASTS), shown.title()
        shown.screenshot(path=tmp_path / "page.png", full_page=True)
        browser.close()

    # then each cell can be read, and the name was text
    assert len(contrasts) > 30
    assert min(contrasts) >= 4.5
    assert title != "owned"


def test_cells_await_in_the_event_loop_of_the_kernel(tmp_path: Path, forebay: Forebay, prefix: str) -> None:
    _, [*_, first, second] = run(
        tmp_path,
        forebay,
        looping(prefix, "import asyncio"),
        "paths = await asyncio.gather(*map(forebay.aio.local_path, uris))\nlen({*paths})",
        "[path async for path in forebay.aio.download_context(uris)] == paths",
    )

    assert first[0]["data"]["text/plain"] == str(COUNT)
    assert second[0]["data"]["text/plain"] == "True"


def test_whoever_wants_no_progress_gets_none(tmp_path: Path, forebay: Forebay, prefix: str) -> None:
    _, [outputs] = run(tmp_path, forebay, looping(prefix, "forebay.download_media(uris, progress=False);"))

    assert outputs == []


def test_a_command_of_a_cell_draws_no_frames(tmp_path: Path, forebay: Forebay, prefix: str) -> None:
    # given a command whose output is a terminal that the notebook records
    _, [outputs] = run(tmp_path, forebay, f"!{COMMAND} prefetch {prefix}")

    # then there is nothing that draws over a line, and each line is there once
    text = "".join(output["text"] for output in outputs)
    assert not re.search(r"\x1b\[[0-9]*[ABKJ]|\x1b\[\?25|\r(?!\n)", text)
    assert len([line for line in text.splitlines() if "samples cached" in line]) == 1
