"""FiftyOne's zoos and plugins where a bucket is named: by a model's URL, by a source of models, data sets or
plugins, which is an archive, or by a manifest in the settings."""

from __future__ import annotations

import os
import re
from typing import Any

from forebay.errors import ForebayError
from forebay.fiftyone import hooks
from forebay.fiftyone.deferred import etau, etaw, fo
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import file_name, is_remote, is_url
from forebay.fiftyone.storage.file_operations import transfer
from forebay.uri import parse_object, redact

_GITHUB = "fiftyone.utils.github"
_SINGLE_SLASH = re.compile(r"(?:.*/)?([^/]+):/([^/].*)", re.DOTALL)


def names_object(url: Any) -> bool:
    """Whether a URL names an object of a bucket, so that reading it may need credentials."""
    if not is_remote(url):
        return False
    try:
        return not is_url(url) or media_cache().engine.sources.is_stored(parse_object(url))
    except ForebayError:
        return False


@hooks.around("eta.core.web", "is_url")
def is_any_url(original: Wrapper, filename: Any) -> bool:
    return is_remote(filename) or original(filename)


@hooks.around("eta.core.web", "download_file")
def download_file(original: Wrapper, url: Any, path: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Downloads an object of a bucket through the cache; gives its bytes if no path is given.

    Raises:
        ForebayError: it cannot be downloaded.
    """
    if not names_object(url):
        return original(url, path, *args, **kwargs)
    # A user who downloads an archive or weights again wants those of today.
    media_cache().download_media([url], update=True, progress=False).forget()
    if path:
        return transfer(url, os.path.abspath(path))
    with media_cache().open(url) as file:
        return file.read()


@hooks.around(_GITHUB, "GitHubRepository.__init__")
def open_repository(original: Wrapper, self: Any, repo: Any, *args: Any, **kwargs: Any) -> None:
    # FiftyOne takes every URL with "github" in it for one of GitHub.
    self._forebay_archive = repo if names_object(repo) else None
    if self._forebay_archive is None:
        original(self, repo, *args, **kwargs)
    else:
        self._safe_path = None
        self._ref = None
        # Together they are what FiftyOne logs.
        self._user, _, self._repo = redact(repo).rpartition("/")


@hooks.around(_GITHUB, "GitHubRepository.download")
def download_repository(original: Wrapper, self: Any, outdir: Any) -> None:
    if self._forebay_archive is None:
        original(self, outdir)
    else:
        path = os.path.join(outdir, file_name(self._forebay_archive))
        etaw.download_file(self._forebay_archive, path=path)
        etau.extract_archive(path)


@hooks.around("fiftyone.zoo.models", "_build_zoo_models_manifest")
def build_models_manifest(original: Wrapper) -> Any:
    fo.config.model_zoo_manifest_paths = restored(fo.config.model_zoo_manifest_paths)
    check_directory("model_zoo_dir")
    return original()


@hooks.around("fiftyone.zoo.datasets", "_get_zoo_datasets")
def get_zoo_datasets(original: Wrapper) -> Any:
    fo.config.dataset_zoo_manifest_paths = restored(fo.config.dataset_zoo_manifest_paths)
    check_directory("dataset_zoo_dir")
    return original()


def restored(paths: list[str] | None) -> list[str] | None:
    """The paths of a setting as they were written.

    FiftyOne makes ``/here/s3:/bucket/key`` of a URI in its file, and ``/here/s3`` and ``//bucket/key`` of
    one in a variable.
    """
    found: list[str] = []
    for path in paths or ():
        before = os.path.basename(found[-1]) if found else ""
        if path.startswith("//") and is_remote(f"{before}:{path}"):
            found[-1] = f"{before}:{path}"
        else:
            found.append(_restored(path))
    return found if paths else paths


def check_directory(setting: str) -> None:
    """Refuses a bucket as the directory of a zoo.

    Raises:
        ValueError: the setting names one.
    """
    path = _restored(getattr(fo.config, setting) or "")
    if is_remote(path):
        raise ValueError(
            f"{setting}={redact(path)}: what FiftyOne's zoo downloads must lie on this machine: name a local "
            "directory, and put models and archives into buckets as sources or URLs"
        )


def _restored(path: str) -> str:
    match = _SINGLE_SLASH.fullmatch(path)
    uri = f"{match[1]}://{match[2]}" if match else path
    return uri if is_remote(uri) and not os.path.exists(path) else path
