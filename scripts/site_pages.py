"""Adds pages from outside ``docs/`` to the site; mkdocs calls these functions (``hooks`` in mkdocs.yml).

The pages are read on a forge as well, where a link may lead to any file of the repository. On the site
README, CONTRIBUTING, SECURITY and CHANGELOG are pages as they are, and each other file that a page leads to
becomes one that shows it; a directory, one that lists its files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
}
_LINK = re.compile(r"(?<=\]\()[^)\s#:]+(?=[)#\s])")
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_TITLE = re.compile(r"<th[^>]*>(.*?)</th>", re.DOTALL)
_ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<td(?=[ >])")
_BLOCK = re.compile(r'<div class="highlight">(?=(<pre>.*?</pre>))', re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".lua": "lua"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    root, docs = _places(config)
    sources = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    for name, uri in PAGES.items():
        if (root / name).exists():
            sources.append(root / name)
            files.append(File.generated(config, uri, content=(root / name).read_text()))
    shown: set[Path] = set()
    while sources:
        source = sources.pop()
        for target in _targets(source, root, docs):
            if target not in shown:
                shown.add(target)
                files.append(File.generated(config, _uri(target, root), content=_content(target, root)))
                if target.is_dir():
                    shown |= (inside := set(_files(target)) - shown)
                    for file in sorted(inside):
                        files.append(File.generated(config, _uri(file, root), content=_content(file, root)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes links lead to pages of the site."""
    root, docs = _places(config)
    source = next((root / name for name, uri in PAGES.items() if uri == page.file.src_uri), None)
    if source is None:
        if page.file.abs_src_path is None or not Path(page.file.abs_src_path).is_relative_to(docs):
            return markdown
        source = Path(page.file.abs_src_path)
    here = os.path.dirname(page.file.src_uri)

    def rewritten(match: re.Match[str]) -> str:
        target = _resolved(source, match[0])
        if not target.exists() or not target.is_relative_to(root):
            return match[0]
        uri = target.relative_to(docs).as_posix() if target.is_relative_to(docs) else _uri(target, root)
        return quote(os.path.relpath(uri, here or "."))

    return _LINK.sub(rewritten, markdown)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Marks what the style sheet shows otherwise on a narrow screen: the cells of tables, and drawings."""
    return _BLOCK.sub(_marked_block, _TABLE.sub(_marked_table, html))


def _marked_table(match: re.Match[str]) -> str:
    """A table whose cells know the titles of their columns, under which they stand no more on a telephone."""
    titles = [escape(_TAG.sub("", title).strip()) for title in _TITLE.findall(match[0])]

    def marked(row: re.Match[str]) -> str:
        title = iter(titles)
        return _CELL.sub(lambda _: f'<td data-title="{next(title, "")}"', row[0])

    return _ROW.sub(marked, match[0])


def _marked_block(match: re.Match[str]) -> str:
    """A block of text; one that is a drawing must not be wrapped, so it says how many columns it has."""
    if "+-----" not in match[1]:
        return match[0]
    columns = max(map(len, unescape(_TAG.sub("", match[1])).splitlines()))
    return f'<div class="highlight drawing" style="--columns: {columns}">'


def _places(config: MkDocsConfig) -> tuple[Path, Path]:
    """The repository, and its directory of pages."""
    docs = Path(config.docs_dir).resolve()
    return docs.parent, docs


def _resolved(source: Path, link: str) -> Path:
    return Path(os.path.normpath(source.parent / link))


def _targets(source: Path, root: Path, docs: Path) -> Iterator[Path]:
    """The files that a page links to and that are no page yet."""
    for link in _LINK.findall(source.read_text()):
        target = _resolved(source, link)
        known = target.is_relative_to(docs) or _named(target, root) in PAGES
        if target.exists() and target.is_relative_to(root) and not known:
            yield target


def _named(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else ""


def _uri(target: Path, root: Path) -> str:
    """The page of the site that shows a file or directory of the repository."""
    name = _named(target, root)
    return PAGES.get(name) or f"repository/{name}.md"


def _files(directory: Path) -> list[Path]:
    inside = (path for path in directory.rglob("*") if "__pycache__" not in path.parts)
    return sorted(path for path in inside if path.is_file() and _text(path) is not None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def _content(target: Path, root: Path) -> str:
    name = _named(target, root)
    header = f"---\ntitle: {name}\nsearch:\n  exclude: true\n---\n\n# `{name}`\n\n"
    if target.is_dir():
        links = ((_named(file, root), file.relative_to(target.parent).as_posix()) for file in _files(target))
        return header + "".join(f"- [`{shown}`]({quote(link)}.md)\n" for shown, link in links)
    text = _text(target) or ""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{header}{fence}{_LANGUAGES.get(target.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"
