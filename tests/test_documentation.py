"""README and docs: every code block runs, and every link leads somewhere."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.photos import photographs
from tests import libraries
from tests.cvat.standin import PASSWORD, USER, running_cvat
from tests.documentation import REPOSITORY, BlockError, blocks_of, matches, run_page
from tests.fiftyone.environment import environment
from tests.servers.mongodb import mongodb
from tests.servers.seaweedfs import S3Server

# Only ends what hangs: a page that measures takes minutes where other tests keep the machine busy.
_MAX_SECONDS = 1200

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
# Where people decide whether to read on: they begin with what Forebay is.
FIRST = [REPOSITORY / "README.md", REPOSITORY / "docs" / "index.md"]
LINKED = [*PAGES, *(REPOSITORY / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.fixture(scope="session")
def photo_bucket(s3_server: S3Server) -> dict[str, str]:
    """60 photographs in the bucket ``photos``: URIs such as ``s3://photos/chelsea/0000.jpg``, by key."""
    bucket = s3_server.create_bucket("photos")
    files = {name.removeprefix("photos/"): content for name, content in photographs(60)}
    return {key: s3_server.put(bucket, key, content) for key, content in files.items()}


@pytest.fixture
def photos(s3_server: S3Server, photo_bucket: dict[str, str]) -> list[str]:
    """Their URIs; the bucket has nothing else, whatever earlier pages wrote."""
    listed = s3_server.client.list_objects_v2(Bucket="photos")["Contents"]
    for key in {found["Key"] for found in listed} - set(photo_bucket):
        s3_server.delete("photos", key)
    return list(photo_bucket.values())


@pytest.fixture
def page_directory(
    s3_environment: dict[str, str], photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Where a page runs: an empty cache, the bucket ``photos``, and ``manifest.txt`` with its URIs."""
    monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("COLUMNS", "100")
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "manifest.txt").write_text("".join(f"{uri}\n" for uri in photos))
    return directory


@pytest.fixture(scope="session")
def database_uri() -> Iterator[str]:
    """A MongoDB server for the pages about FiftyOne."""
    with mongodb() as uri:
        yield uri


@pytest.fixture
def bucket_to_annotate(
    s3_server: S3Server, page_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The bucket ``annotate``, empty; the directory ``pictures``; and a CVAT server with a user."""
    s3_server.create_bucket("annotate")
    for name, content in photographs(12):
        path = page_directory / "pictures" / name.removeprefix("photos/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with running_cvat() as cvat:
        monkeypatch.setenv("FIFTYONE_CVAT_URL", cvat.url)
        monkeypatch.setenv("FIFTYONE_CVAT_USERNAME", USER)
        monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", PASSWORD)
        monkeypatch.setenv("FOREBAY_CVAT_STORAGE_KEY", s3_server.access_key)
        monkeypatch.setenv("FOREBAY_CVAT_STORAGE_SECRET_KEY", s3_server.secret_key)
        yield


@pytest.fixture
def objects_of_libraries(s3_server: S3Server, page_directory: Path) -> None:
    """What libraries read, in the bucket ``photos``."""
    s3_server.put_many("photos", libraries.objects())


@contextlib.contextmanager
def group_of(process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends whatever a page left running."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("page", [page for page in PAGES if page not in FIRST], ids=name_of)
def test_each_page_begins_with_commands(page: Path) -> None:
    assert re.match(r"# .*\n+(<!--.*-->\n+)?```(console|python|shell|text)\n", page.read_text())


@pytest.mark.parametrize("page", FIRST, ids=name_of)
def test_the_first_pages_say_and_show_what_it_is_before_details(page: Path) -> None:
    top = page.read_text().partition("\n## ")[0].partition("To get something done")[0]

    shown = re.findall(r"!\[[^\]]+\]\((?:docs/)?images/([^)]+)\)", top)
    assert shown == ["speed.svg", "prefetch.svg", "app-photographs.png"]
    order = [top.index(part) for part in ("pip install forebay\n", "**It is for**", "**It is not**")]
    assert order == sorted(order)
    # It is read in a minute.
    assert len(re.sub(r"\]\([^)]*\)", "", top).split()) < 280


@pytest.mark.timeout(330)
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_a_page_runs(
    page: Path,
    page_directory: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if page.name == "cvat.md":
        request.getfixturevalue("bucket_to_annotate")
    if page.name == "fsspec.md":
        request.getfixturevalue("objects_of_libraries")
    if page.name.startswith(("fiftyone", "cvat")):
        for name, value in environment(tmp_path / "home", request.getfixturevalue("database_uri")).items():
            monkeypatch.setenv(name, value)
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.documentation", str(page)],
            cwd=page_directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    with group_of(process):
        try:
            status = process.wait(_MAX_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(
                f"{name_of(page)} takes more than {_MAX_SECONDS} seconds\n{log.read_text()}",
                pytrace=False,
            )
    if status:
        pytest.fail(log.read_text().replace(f"{REPOSITORY}/", ""), pytrace=False)


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def without_code(text: str) -> str:
    return re.sub(r"^ *(```+|~~~+).*?^ *\1 *$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ +(.*?) *$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class TestTheRunner:
    """A runner that overlooks a failure makes every page pass."""

    @pytest.fixture(autouse=True)
    def _in_an_empty_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)

    def run(self, text: str) -> int:
        page = Path("page.md").resolve()
        page.write_text(text)
        return run_page(page)

    @pytest.mark.parametrize(
        "text",
        [
            "no code at all, `inline` only",
            "```python\nx = 1\n```\n```python\nassert x == 1\n```",
            "- in a list:\n\n  ```python\n  if True:\n      x = 1\n  ```",
            "~~~python\ntext = '''\n```\n'''\n~~~",
            "````text\n```nonsense\n````",
            "```python\nopen('made', 'w').close()\n```\n```shell\ntest -e made\n```",
            "```shell\nsleep 2 &\n```",
            "```console\n$ echo one; echo two\none\n...\n$ X=3\n$ echo $X\n3\n$ false\n$ echo $?\n1\n```",
            "```console\n$ echo \\\n> continued\ncontinued\n```",
            "```console\n$ seq 9\n1\n...\n9\n```",
            "```console\n$ printf 'no newline'\nno newline\n```",
            '```json\n{"a": 1}\n```\n```toml\na = 1\n```\n```yaml\na: 1\n```\n```ini\n[a]\nb = %1\n```',
            "<!-- in the repository -->\n\n```shell\ntest -e pyproject.toml\n```",
        ],
    )
    def test_what_passes(self, text: str) -> None:
        self.run(text)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("\n\n```python\nx = 1\n1 / 0\n```", "line 5, in <module>\n    1 / 0\n"),
            ("```python\nx = = 1\n```", "SyntaxError"),
            ("```python\nraise SystemExit(0)\n```", "SystemExit"),
            ("```shell\necho said; false; echo on\n```", "ended with status 1 and said:\nsaid\n"),
            ("```bash\nfalse | true\n```", "status 1"),
            ("```shell\necho $UNSET_VARIABLE\n```", "unbound variable"),
            ("```console\n$ echo one\ntwo\n```", "`echo one` was to print\ntwo\n\nbut printed\none"),
            ("```console\n$ false\n```", "`false` ended with status 1"),
            ("```console\n$ false\n$ true\n```", "`false` ended with status 1"),
            ("```console\n$ exit 0\n$ true\n```", "ended early"),
            ("```console\necho one\n```", "begins with '$ '"),
            ("```json\n{'a': 1}\n```", "is not valid json"),
            ("```toml\na = \n```", "is not valid toml"),
            ("```yaml\na: [\n```", "is not valid yaml"),
            ("```ini\na\n```", "is not valid ini"),
            ("```lua\nreturn 'never written'\n```", "stands like that in no script"),
            ("```\nx\n```", "the language '' is not one"),
            ("```pyhton\nx\n```", "the language 'pyhton' is not one"),
            ("```python\nx = 1\n", "line 1: the block is never closed"),
            ("<!-- in the repository -->\ntext\n```shell\ntest -e pyproject.toml\n```", "status 1"),
        ],
    )
    def test_what_fails(self, text: str, message: str) -> None:
        with pytest.raises(BlockError) as raised:
            self.run(text)
        assert message in str(raised.value)

    def test_a_failure_names_page_and_line_and_shows_the_code(self) -> None:
        with pytest.raises(BlockError) as raised:
            self.run("# Title\n\n```shell\nls nowhere\n```\n")
        assert str(raised.value).startswith(f"{Path('page.md').resolve()}:4: ended with status 2 and said:\n")
        assert str(raised.value).endswith("\n\n    ls nowhere")

    def test_a_page_is_taken_apart(self) -> None:
        blocks = blocks_of("a\n```python title\nx\n```\n\n  ```shell\n  y\n   z\n  ```\n")
        assert [(b.language, b.code, b.line) for b in blocks] == [
            ("python", "x\n", 3),
            ("shell", "y\n z\n", 7),
        ]

    def test_lua_that_stands_in_a_script(self) -> None:
        script = next((REPOSITORY / "api").rglob("*.lua"))
        assert self.run("```lua\n" + "".join(script.read_text().splitlines(keepends=True)[1:4]) + "```") == 1

    @pytest.mark.parametrize(
        ("expected", "got", "same"),
        [
            ("a...z", "a to z", True),
            ("a\n...\nz", "a\nb\nc\nz", True),
            ("a  \n", "a\n\n", True),
            ("a.z", "abz", False),
            ("a", "ab", False),
            (" a", "a", False),
        ],
    )
    def test_output_is_compared(self, expected: str, got: str, same: bool) -> None:
        assert matches(expected, got) is same

    def test_broken_links_are_seen(self, tmp_path: Path) -> None:
        text = "[a](b.md) `[code](c.md)`\n```text\n[d](e.md)\n```\n"
        assert without_code(text).count("](") == 1
        page = tmp_path / "page.md"
        page.write_text("# The life of a sample: `claim`, open\n```shell\n# no heading\n```\n")
        assert anchors(page) == {"the-life-of-a-sample-claim-open"}
