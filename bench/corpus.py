"""The objects that are fetched, and the check that a tool fetched every one of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Corpus:
    """The objects of one bucket.

    Attributes:
        root: the directory that nginx serves.
        md5: key -> MD5 in hexadecimal, in the order of a listing.
        sizes: of the objects, in the same order; the last one is that of all others, too.
        served: whether the objects are there, and not only their names.
    """

    root: Path
    bucket: str
    sizes: Sequence[int]
    md5: dict[str, str] = field(default_factory=dict)
    served: bool = True

    @classmethod
    def make(cls, root: Path, bucket: str, count: int, *sizes: int) -> Corpus:
        """Writes ``count`` objects of random bytes. Keys have 10 bytes, entries about 30."""
        corpus = cls(root, bucket, sizes)
        (root / bucket).mkdir(parents=True)
        for number in range(count):
            key, digest = f"{number:06}.jpg", hashlib.md5(usedforsecurity=False)
            size = corpus._size(number)
            with (root / bucket / key).open("wb") as file:
                for start in range(0, size, 1 << 20):
                    piece = os.urandom(min(1 << 20, size - start))
                    digest.update(piece)
                    file.write(piece)
            corpus.md5[key] = digest.hexdigest()
        return corpus

    @classmethod
    def names(cls, root: Path, bucket: str, count: int) -> Corpus:
        """A bucket that can be listed only: keys of 26 bytes, and nothing behind them."""
        keys = (f"photographs/{number:010}.jpg" for number in range(count))
        md5 = {key: hashlib.md5(key.encode(), usedforsecurity=False).hexdigest() for key in keys}
        return cls(root, bucket, (100_000,), md5, served=False)

    def size_of(self, key: str) -> int:
        """The size of an object in bytes."""
        return self.sizes[0] if len(self.sizes) == 1 else self._size(int(key.partition(".")[0]))

    def _size(self, number: int) -> int:
        return self.sizes[min(number, len(self.sizes) - 1)]

    @property
    def uris(self) -> list[str]:
        """The S3 URIs of all objects."""
        return [f"s3://{self.bucket}/{key}" for key in self.md5]

    def write_list(self, path: Path, form: str = "s3://{bucket}/{key}") -> Path:
        """Writes a line for each object, as the tools want them."""
        path.write_text("".join(form.format(bucket=self.bucket, key=key) + "\n" for key in self.md5))
        return path

    def check(self, directory: Path) -> None:
        """Makes sure that a directory holds exactly these objects, byte for byte.

        Raises:
            WrongFilesError: it does not.
        """
        there = {path.relative_to(directory).as_posix(): path for path in _files(directory)}
        if there.keys() != self.md5.keys():
            raise WrongFilesError(f"{len(there)} files in {directory}, {len(self.md5)} were to be fetched")
        for key, digest in self.md5.items():
            if _md5(there[key]) != digest:
                raise WrongFilesError(f"{there[key]} is not what the server has")


class WrongFilesError(Exception):
    """A tool has not fetched what it was asked for."""


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
