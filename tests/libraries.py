"""What libraries read through ``forebay://``: what there is to read, and how each of them reads it.

``python -m tests.libraries DIRECTORY`` writes it. The libraries start threads, so that processes which fork
leave them to others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

NAMES = ("datasets", "lance", "pandas", "pyarrow", "upath", "webdataset", "xarray", "zarr")
ROWS = 300


def objects() -> dict[str, bytes]:
    """What there is to read, by key."""
    for name in NAMES:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-m", "tests.libraries", directory], check=True, timeout=120)
        files = [path for path in Path(directory).rglob("*") if path.is_file()]
        return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def _write(directory: Path) -> None:
    import lance
    import numpy
    import pandas
    import xarray

    table = pandas.DataFrame({"id": range(ROWS), "label": [f"label-{n}" for n in range(ROWS)]})
    tables = directory / "tables"
    for split, part in (("train", table[: ROWS - 100]), ("test", table[ROWS - 100 :])):
        (tables / "parts" / f"split={split}").mkdir(parents=True)
        part.to_parquet(tables / "parts" / f"split={split}" / "0.parquet", index=False)
    table.to_csv(tables / "labels.csv", index=False)
    table.to_parquet(tables / "labels.parquet", index=False)
    for number in range(2):
        shard = directory / "shards" / f"train-{number:06}.tar"
        shard.parent.mkdir(exist_ok=True)
        with tarfile.open(shard, "w") as tar:
            for sample in range(10):
                member = tarfile.TarInfo(f"{number}{sample}.txt")
                member.size = 2
                tar.addfile(member, BytesIO(b"%d%d" % (number, sample)))
    grid = numpy.arange(10_000.0).reshape(100, 100)
    dataset = xarray.Dataset({"temperature": (("y", "x"), grid)})
    dataset.to_zarr(
        directory / "grid.zarr", encoding={"temperature": {"chunks": (50, 50)}}, consolidated=False
    )
    lance.write_dataset(table, directory / "table.lance")


def _pandas(root: str) -> Any:
    import pandas

    return len(pandas.read_csv(f"{root}/tables/labels.csv")), len(
        pandas.read_parquet(f"{root}/tables/labels.parquet", columns=["label"])
    )


def _pyarrow(root: str) -> Any:
    import pyarrow.dataset
    import pyarrow.parquet

    parts = pyarrow.dataset.dataset(f"fsspec+{root}/tables/parts", partitioning="hive")
    test = parts.to_table(filter=pyarrow.dataset.field("split") == "test")
    return test.num_rows, pyarrow.parquet.read_table(f"fsspec+{root}/tables/labels.parquet").num_rows


def _datasets(root: str) -> Any:
    import datasets

    loaded = datasets.load_dataset("csv", data_files=f"{root}/tables/labels.csv", split="train")
    files = {"train": f"{root}/tables/parts/**/*.parquet"}
    streamed = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    return len(loaded), sum(1 for _ in streamed)


def _webdataset(root: str) -> Any:
    import fsspec
    import webdataset

    webdataset.gopen_schemes["forebay"] = lambda url, *_, **__: fsspec.open(url).open()
    samples = webdataset.WebDataset(f"{root}/shards/train-{{000000..000001}}.tar", shardshuffle=False)
    return sorted(sample["txt"].decode() for sample in samples)


def _zarr(root: str) -> Any:
    import zarr

    array = zarr.open_group(f"{root}/grid.zarr", mode="r")["temperature"]
    return float(array[60, 70]), float(array[:].sum())


def _xarray(root: str) -> Any:
    import xarray

    return float(xarray.open_zarr(f"{root}/grid.zarr", consolidated=False).temperature.sum())


def _lance(root: str) -> Any:
    import fsspec
    import lance

    import forebay

    fs, path = fsspec.url_to_fs(f"{root}/table.lance")
    uris = [name.replace("/", "://", 1) for name in fs.find(path)]
    forebay.download_media(uris, skip_failures=False, progress=False)
    paths = forebay.get_local_paths(uris, download=False)
    return lance.dataset(os.path.commonpath(paths)).count_rows()


def _upath(root: str) -> Any:
    from upath import UPath

    tables = UPath(root) / "tables"
    assert tables.is_dir() and (tables / "labels.csv").stat().st_size > 0
    assert sorted(found.name for found in tables.iterdir()) == ["labels.csv", "labels.parquet", "parts"]
    assert [found.parent.name for found in sorted(tables.rglob("*.parquet"))][1:] == [
        "split=test",
        "split=train",
    ]
    return (tables / "labels.csv").read_text().partition("\n")[0]


READS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "datasets": (_datasets, (ROWS, ROWS)),
    "lance": (_lance, ROWS),
    "pandas": (_pandas, (ROWS, ROWS)),
    "pyarrow": (_pyarrow, (100, ROWS)),
    "upath": (_upath, "id,label"),
    "webdataset": (_webdataset, [f"{shard}{sample}" for shard in range(2) for sample in range(10)]),
    "xarray": (_xarray, 49_995_000.0),
    "zarr": (_zarr, (6070.0, 49_995_000.0)),
}
"""How each library reads, from the path of a bucket, and what it then has."""

if __name__ == "__main__":
    _write(Path(sys.argv[1]))
