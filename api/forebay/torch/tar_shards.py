"""Tar shards, read as a stream: samples as WebDataset stores them."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any, Literal, TypeAlias

import torch
from torch.utils.data import IterableDataset, get_worker_info
from typing_extensions import Self

import forebay
from forebay.errors import ConfigError, ForebayError, MediaError, SampleError, UriError
from forebay.manifests.braces import expand_braces, has_braces
from forebay.torch.arguments import checked_cache, checked_transform
from forebay.torch.epoch_order import rank_and_world_size, whole_number
from forebay.torch.reasons import reason
from forebay.uri import is_local, parse, redact, uri_list

log = logging.getLogger(__name__)

_COMPRESSED = (".gz", ".tgz", ".bz2", ".tbz", ".tbz2", ".xz", ".txz")
_READ_BYTES = 1 << 20
# So many a name with braces may stand for: a range with a digit too many is not to fill the memory.
_MAX_SHARDS = 1_000_000
# A file without the blocks of zeros at its end is whole, as other readers see it.
_DAMAGED = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]

# A sample, and the byte of its shard at which the next one begins; ``None`` after the last one.
_Read: TypeAlias = tuple[dict[str, Any], int | None]


class TarShards(IterableDataset[Any]):
    """The samples of tar files, which are read while they arrive, in blocks.

    Files that follow each other and whose names are the same up to the first dot are a sample: a dictionary
    with their bytes by extension (``jpg``, ``cls``), with ``__key__``, the name up to the dot, and
    ``__url__``, the URI of the shard. The shards are divided among the ranks, and those of a rank among the
    processes of its loader: there should be at least as many, and ranks may have unequal numbers of samples.

    Args:
        uris: of the shards; local paths may be among them. ``shard-{0000..0123}.tar`` stands for 124 of them,
            as a single text, too.
        transform: is called with each sample, and makes what is returned; by default the sample is returned.
        shuffle: whether the shards come in another order each epoch; `set_epoch` sets the epoch.
        seed: of the order; the same in all ranks.
        rank: as of `MediaSampler`.
        world_size: likewise.
        on_error: ``raise``, or ``skip`` for a warning: then the rest of a shard is left out that cannot be
            read, and a sample whose transform raises.
        cache: the cache; by default ``forebay.media_cache``.

    Raises:
        ConfigError: ``rank`` is none of ``world_size``, ``seed`` no whole number, ``on_error`` none of the
            two, or ``transform`` or ``cache`` is of a wrong type.
        UriError: ``uris`` is a single text without braces, or one has braces that cannot be expanded.
    """

    def __init__(
        self,
        uris: str | Iterable[str],
        transform: Callable[[dict[str, Any]], Any] | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        cache: forebay.MediaCache | None = None,
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise ConfigError(
                f"on_error={on_error!r} is not allowed: must be raise or skip", setting="on_error"
            )
        listed = [uris] if isinstance(uris, str) and has_braces(uris) else uri_list(uris)
        self.uris = [uri for shape in listed for uri in expand_braces(shape, _MAX_SHARDS)]
        self.transform = checked_transform(transform)
        self.on_error = on_error
        self._shuffle, self._seed = shuffle, whole_number("seed", seed)
        self._rank, self._world_size = rank_and_world_size(rank, world_size)
        self._cache = checked_cache(cache)
        # Shared with the processes of a loader, also with those that it keeps.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._state = self._beginning()
        self._is_loaded = False

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iteration, in the processes of a loader, too.

        Raises:
            ConfigError: it is no whole number.
        """
        self._epoch.fill_(whole_number("epoch", epoch))

    def state_dict(self) -> dict[str, int]:
        """The position of this process in its shards; a ``StatefulDataLoader`` keeps those of all."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Has the next iteration begin where `state_dict` was taken, in that epoch, with the same order.

        Raises:
            ConfigError: the state is of another number of shards or ranks, or none of a `TarShards`.
        """
        try:
            epoch = whole_number("epoch", state["epoch"])
            shard, offset = (whole_number(name, state[name], least=0) for name in ("shard", "offset"))
            seed, shuffle = whole_number("seed", state["seed"]), bool(state["shuffle"])
            shards, ranks = state["shards"], state["world_size"]
        except (KeyError, TypeError, ConfigError):
            raise ConfigError(f"the state {state!r} is none of a TarShards") from None
        if (shards, ranks) != (len(self.uris), self._world_size):
            raise ConfigError(
                f"the state is of {shards} shards and world_size={ranks}, and there are {len(self.uris)} and "
                f"world_size={self._world_size} now: begin the epoch anew"
            )
        # With another order, the epoch would have some shards twice and others never.
        self._seed, self._shuffle = seed, shuffle
        self._state = self._beginning() | {"epoch": epoch, "shard": shard, "offset": offset}
        self._is_loaded = True

    def __iter__(self) -> Iterator[Any]:
        # At once, not with the first sample: a loader asks for the state before.
        if not self._is_loaded:
            self._state = self._beginning()
        self._is_loaded = False
        return self._iterate(self._state)

    def _beginning(self) -> dict[str, int]:
        return {
            "epoch": int(self._epoch),
            "shard": 0,
            "offset": 0,
            "shards": len(self.uris),
            "world_size": self._world_size,
            "seed": self._seed,
            "shuffle": int(self._shuffle),
        }

    def _iterate(self, state: dict[str, int]) -> Iterator[Any]:
        shards = self._shards(state["epoch"])
        while state["shard"] < len(shards):
            uri = shards[state["shard"]]
            try:
                for sample, following in self._read(uri, state["offset"]):
                    if following is None:
                        state.update(shard=state["shard"] + 1, offset=0)
                    else:
                        state["offset"] = following
                    yield from self._made(sample)
                    if following is None:
                        break
                else:
                    state.update(shard=state["shard"] + 1, offset=0)
            except ForebayError as error:
                if self.on_error == "raise":
                    raise error if isinstance(error, SampleError) else SampleError(str(error)) from error
                log.warning("the rest of a shard is skipped: %s", error)
                state.update(shard=state["shard"] + 1, offset=0)

    def _shards(self, epoch: int) -> list[str]:
        """The shards of this process, in order."""
        order = torch.arange(len(self.uris))
        if self._shuffle:
            generator = torch.Generator().manual_seed(self._seed + epoch)
            order = torch.randperm(len(self.uris), generator=generator)
        worker = get_worker_info()
        number, processes = (0, 1) if worker is None else (worker.id, worker.num_workers)
        of_rank = order[self._rank :: self._world_size]
        return [self.uris[index] for index in of_rank[number::processes].tolist()]

    def _made(self, sample: dict[str, Any]) -> Iterator[Any]:
        if self.transform is None:
            yield sample
            return
        try:
            made = self.transform(sample)
        except Exception as error:
            if self.on_error == "raise":
                raise
            log.warning(
                "%s of %s is skipped: %s", sample["__key__"], redact(sample["__url__"]), reason(error)
            )
            return
        yield made

    def _read(self, uri: str, offset: int) -> Iterator[_Read]:
        """The samples of a shard from a byte on.

        Raises:
            ForebayError: it cannot be read.
        """
        cache = self._cache or forebay.media_cache
        try:
            with cache.open(uri, whole=False) as file:
                yield from _samples(file, uri, offset)
        except FileNotFoundError as error:
            raise error if isinstance(error, ForebayError) else UriError(f"there is no file {uri}") from None
        except (tarfile.TarError, EOFError) as error:
            raise MediaError(f"{redact(uri)} cannot be read as a tar file: {error}") from None
        except ValueError:
            # Of numbers in headers of sparse files.
            raise MediaError(f"{redact(uri)} cannot be read as a tar file: damaged header") from None
        except OSError as error:
            if isinstance(error, ForebayError):
                raise
            raise MediaError(f"{redact(uri)} cannot be read: {error.strerror or error}") from None


class _Member(tarfile.TarInfo):
    """A header. `tarfile` takes a damaged one for the end of the file, if it is not the first one."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except _DAMAGED as error:
            raise tarfile.ReadError(str(error)) from None


def _samples(file: IO[bytes], uri: str, offset: int) -> Iterator[_Read]:
    # Without the query string of a URL, which may be a signature.
    name = uri if is_local(uri) else parse(uri).key
    is_compressed = name.lower().endswith(_COMPRESSED)
    # A header every so often is all that a tar file has: one may begin to read at any of them.
    begin = 0 if is_compressed else offset
    file.seek(begin)
    sample: dict[str, Any] = {}
    mode: Literal["r|*", "r|"] = "r|*" if is_compressed else "r|"
    with tarfile.open(fileobj=file, mode=mode, bufsize=_READ_BYTES, tarinfo=_Member) as tar:
        for member in tar:
            # Else it keeps all of them.
            tar.members.clear()  # type: ignore[attr-defined]
            if not member.isfile() or begin + member.offset < offset:
                continue
            if member.issparse():
                # It may claim any number of zeros, which would have to fit into the memory.
                raise tarfile.ReadError(f"{member.name} is a sparse file")
            directory, slash, name = member.name.rpartition("/")
            stem, _, extension = name.partition(".")
            key = directory + slash + stem
            if sample and sample["__key__"] != key:
                yield sample, begin + member.offset
                sample = {}
            content = tar.extractfile(member)
            assert content is not None
            sample |= {"__key__": key, "__url__": uri, extension.lower(): content.read()}
    if sample:
        yield sample, None
