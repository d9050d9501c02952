"""A dataset of remote media and its twin on local copies, on which a workflow must do the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import numpy as np

from forebay.cache import MediaCache
from forebay.fiftyone.media_uris import is_remote
from tests.fiftyone.places import EVERY, Places

Run = Callable[[Any, Path], Any]

# What differs between any two datasets, or between two runs.
_PASSING = {"_id", "id", "_dataset_id", "_sample_id", "sample_id", "created_at", "last_modified_at", "_rand"}
_PASSING |= {"dataset_id", "_cls_id", "date_captured", "date_created", "updated", "dumped"}
_TEXT = {".json", ".xml", ".csv", ".txt", ".yaml", ".fo3d", ".geojson", ".ndjson"}
_PATHS = ("filepath", "segmentation.mask_path", "heatmap.map_path", "detections.detections.mask_path")


@dataclass
class Twins:
    """Two datasets of the same samples.

    Attributes:
        kind: the kind of media, one of `table.KINDS`.
        remote: its media lies in all places.
        local: its media lies in ``root``, below the name of the place and under the same key.
        directory: where runs may write; each has a directory of its own there.
        before: what lay at the servers at the beginning.
    """

    kind: str
    remote: Any
    local: Any
    root: Path
    directory: Path
    places: Places
    cache: MediaCache
    before: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.before = self.listing()

    def same(self, run: Run, reads: Literal["all", "none", "some"] = "all", flat: bool = True) -> Any:
        """Runs a workflow on both; results, and the files that it writes, must be the same.

        Args:
            run: is given a dataset and a directory to write into.
            reads: which files of the remote samples are cached afterwards.
            flat: give it a view with all slices of a grouped dataset, as workflows on pixels want it.

        Returns:
            the result on remote media.
        """
        results = {}
        for name, dataset in (("remote", self.remote), ("local", self.local)):
            out = self.directory / name
            out.mkdir(parents=True, exist_ok=True)
            samples = every_slice(dataset) if flat else dataset
            results[name] = run(samples, out)
            if name == "remote":
                self._check_cache(reads)
        assert whole(results["remote"])
        assert self.told(results["remote"]) == self.told(results["local"])
        assert self.tree(self.directory / "remote") == self.tree(self.directory / "local")
        return results["remote"]

    def by_place(self, samples: Any) -> Iterator[tuple[str, str, Any]]:
        """The samples of each place: its name, its root, and a view of them."""
        from fiftyone import ViewField

        for place in self.places.names:
            remote = samples._root_dataset is self.remote
            root = self.places.root(place) if remote else f"{self.root / place}/"
            yield place, root, samples.match(ViewField("filepath").starts_with(root))

    def repeat_the_first(self) -> None:
        """Adds the first file once more to both twins: under another key, in S3."""
        import fiftyone as fo

        first = every_slice(self.remote).first().filepath
        key = f"again/{os.path.basename(first)}"
        uri = self.places.put("s3", key, self.places.contents[first])
        copy = self.root / "s3" / key
        copy.parent.mkdir(parents=True)
        copy.write_bytes(self.places.contents[first])
        for dataset, path in ((self.remote, uri), (self.local, str(copy))):
            sample = fo.Sample(filepath=path)
            if dataset.media_type == "group":
                sample[dataset.group_field] = fo.Group().element(dataset.default_group_slice)
            dataset.add_sample(sample)
        self.before = self.listing()

    def told(self, value: Any) -> Any:
        """A result in plain values, in which paths of both twins read the same."""
        if isinstance(value, str):
            return self._named(value)
        if isinstance(value, Mapping):
            return {
                self._named(str(key)): self.told(each) for key, each in value.items() if key not in _PASSING
            }
        if isinstance(value, list | tuple | set):
            return [self.told(each) for each in value]
        if isinstance(value, bytes):
            return hashlib.md5(value).hexdigest()
        if isinstance(value, Path):
            return self.told(str(value))
        if hasattr(value, "numpy"):
            value = value.numpy()
        if isinstance(value, np.ndarray):
            values = value.tolist() if value.dtype.hasobject else value.tobytes()
            return [str(value.dtype), value.shape, self.told(values)]
        if hasattr(value, "to_dict"):
            return self.told(value.to_dict())
        return value

    def tree(self, directory: Path) -> dict[str, Any]:
        """Every file below a directory by its relative name, text with names as in `told`."""
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        return {path.relative_to(directory).as_posix(): self._content(path) for path in files}

    def listing(self) -> dict[str, Any]:
        """Every object at the servers, with what changes when it is written anew."""
        found: dict[str, Any] = {}
        s3 = self.places.s3_server.client.list_objects_v2(Bucket=self.places.s3_bucket)
        for item in s3.get("Contents", []):
            found[f"s3 {item['Key']}"] = (item["ETag"], item["LastModified"])
        url = f"{self.places.gcs_server.endpoint}/storage/v1/b/{self.places.gcs_bucket}/o"
        with urllib.request.urlopen(url) as answer:
            for item in json.load(answer).get("items", []):
                found[f"gs {item['name']}"] = (item["md5Hash"], item["generation"])
        for target, resource in self.places.http_server.resources.items():
            found[f"http {target}"] = hashlib.md5(resource.body).hexdigest()
        if self.places.azure is not None:
            server, container = self.places.azure
            for blob in server.client.get_container_client(container).list_blobs():
                found[f"az {blob.name}"] = (blob.etag, blob.last_modified)
        return found

    def _check_cache(self, reads: str) -> None:
        if reads == "all":
            uris = [path for path in every_slice(self.remote).values("filepath") if is_remote(path)]
            assert uris
            missing = [uri for uri in uris if self.cache.stats([uri])["current_count"] == 0]
            assert missing == []
        elif reads == "none":
            assert self.cache.stats()["current_count"] == 0

    def _content(self, path: Path) -> Any:
        if path.suffix not in _TEXT:
            return hashlib.md5(path.read_bytes()).hexdigest()
        text = path.read_text()
        if path.suffix in (".json", ".geojson", ".fo3d"):
            return self.told(json.loads(text))
        return self.told(re.sub(r"<(dumped|updated|created)>.*?</\1>", "", text))

    def _named(self, text: str) -> str:
        for place in self.places.names:
            text = text.replace(str(self.root / place) + "/", f"<{place}>/")
            text = text.replace(self.places.root(place), f"<{place}>/")
        for name in ("remote", "local"):
            text = text.replace(str(self.directory / name), "<out>")
        text = text.replace(self.remote.name, "<name>").replace(self.local.name, "<name>")
        return re.sub(r"\b[0-9a-f]{24}\b", "<id>", text)


def every_slice(dataset: Any) -> Any:
    """All samples of a dataset, those of every slice of a grouped one."""
    return dataset.select_group_slices(dataset.group_slices) if dataset.media_type == "group" else dataset


def localized(dataset: Any, places: Places, root: Path) -> Any:
    """A clone of a dataset whose media are copies below ``root``, with everything beside them."""
    copies = {}
    for path, content in places.contents.items():
        place = places.place_of(path)
        key = path.removeprefix(places.root(place))
        file = root / place / (unquote(key) if place == "http" else key)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        copies[path] = str(file)
    clone = dataset.clone()
    samples = every_slice(clone)
    for name in _PATHS:
        if clone.has_field(name.partition(".")[0]) and (name == "filepath" or "." in name):
            samples.set_values(name, _mapped(samples.values(name), copies))
    clone.reload()
    return clone


def whole(result: Any) -> bool:
    """Whether a result has a value for each sample: two empty ones would be the same, too."""
    if isinstance(result, list | tuple):
        return all(each is not None and whole(each) for each in result)
    return True


def strays(directory: Path) -> list[str]:
    """Directories named like a URI's scheme, which show that a URI was used as a local path."""
    names = {f"{scheme}:" for scheme in (*EVERY, "https", "minio")}
    return [
        os.path.join(parent, name)
        for parent, below, _ in os.walk(directory)
        for name in below
        if name in names
    ]


def _mapped(values: Any, copies: Mapping[str, str]) -> Any:
    if isinstance(values, list):
        return [_mapped(value, copies) for value in values]
    return copies.get(values, values)
