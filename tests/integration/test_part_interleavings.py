"""Objects that are there in part, while others read, complete, evict, clear, lease and replace them.

`FOREBAY_INTERLEAVINGS` is how many seeds are tried, `FOREBAY_INTERLEAVING_SEED` the only one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from forebay.errors import CacheFullError, ObjectChangedError
from forebay.fetch.wanted_parts import Parts
from forebay.parts.part_work import PartWork
from forebay.uri import entry_of, parse_object
from forebay.uri.blocks import owner_of
from forebay.volume import leaving
from forebay.volume.block_files import blocks_of
from forebay.volume.recovery import Recovery
from tests.caches import maintain
from tests.integration.test_interleavings import ONLY, SIZES, World, explore
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey
from tests.small_blocks import use_small_blocks

SEEDS = int(os.environ.get("FOREBAY_INTERLEAVINGS", "15"))
BLOCK = 300
IN_PART = (0, 1, 3)


class PartWorld(World):
    """A volume on which some objects lie in part, or as a whole."""

    def __init__(self, seed: int, directory: Path, redis: Valkey, server: HTTPServer) -> None:
        super().__init__(seed, directory, redis, server)
        # Blocks that a lease found, and objects that have been replaced or cleared.
        self.leased_blocks: dict[str, set[str]] = {}
        first = self.caches[0]
        first.clear([self.uris[n] for n in IN_PART])
        for number, parts in zip(IN_PART, (Parts(head=1), Parts(tail=1), Parts(ranges="0-900")), strict=True):
            first.download_media([self.uris[number]], parts=parts, progress=False)
        # Else their grace period would keep all of them from eviction.
        files, index = first.engine.files, first.engine.open_index()
        for block in [block for n in IN_PART for block in blocks_of(files, entry_of(self.uris[n]))]:
            os.utime(str(files.locate(block)), (1e9, 1e9))
            index.connection.command("zadd", index.keys.atime, {block: 1e9})
        files.take_touched()

    def kinds(self) -> list[Callable[[], Callable[[], object]]]:
        return [
            self.read_part,
            self.read_part,
            self.complete,
            self.complete,
            self.evict,
            self.clear,
            self.lease_parts,
            self.upload,
            self.maintain,
            self.expire,
        ]

    def bodies(self, number: int) -> list[bytes]:
        """Every version that there has been of an object."""
        return [bytes([number, v]) * (SIZES[number] // 2) for v in range(1, self.versions[number] + 1)]

    def read_part(self) -> Callable[[], object]:
        cache, number = self.process(), self.random.choice(IN_PART)
        # Two tell no pattern: what is fetched ahead is fetched by threads that nothing here pauses.
        places = [self.random.randrange(0, SIZES[number] - 2, 2) for _ in range(2)]

        def read() -> None:
            found = set()
            try:
                with cache.open(self.uris[number], whole=False) as file:
                    for place in places:
                        file.seek(place)
                        found.add(file.read(2))
            except (CacheFullError, ObjectChangedError):
                pass
            assert found <= {body[:2] for body in self.bodies(number)}
            assert len(found) <= 1, f"parts of several versions of {number} were read"

        return read

    def complete(self) -> Callable[[], object]:
        cache, number = self.process(), self.random.choice(IN_PART)

        def complete() -> None:
            with contextlib.suppress(CacheFullError):
                PartWork(cache.engine).complete(parse_object(self.uris[number]))

        return complete

    def lease_parts(self) -> Callable[[], object]:
        cache, number = self.process(), self.random.choice(IN_PART)

        def lease() -> None:
            with cache.lease([self.uris[number]], ttl=600) as held:
                if number not in self.cleared and self.versions[number] == 1:
                    entry = entry_of(self.uris[number])
                    self.leased_blocks[held.name] = set(blocks_of(cache.engine.files, entry))
                for _ in range(20):
                    cache.engine.open_index().entries.totals()
                self.leased_blocks.pop(held.name, None)

        return lease

    def check(self) -> None:
        super().check()
        files = self.caches[0].engine.files
        replaced = {entry_of(self.uris[n]) for n, version in self.versions.items() if version > 1}
        # Leases end where Redis loses its data.
        for name, blocks in self.leased_blocks.items() if not self.losses else ():
            for block in blocks:
                owner = owner_of(block)
                # The file takes their place; those of another version are of no use.
                kept = files.locate(block) or files.locate(owner) or owner in replaced
                assert kept, f"{block} is under {name}, and gone"

    def check_end(self) -> None:
        for cache in self.caches:
            cache.engine.open_session().extend()
            cache.engine.open_session().release_unused()
        cache = self.caches[0]
        maintain(cache)
        index, layout = cache.engine.open_index(), cache.engine.files.layout()
        there = {}
        for path in Path(layout.media_dir).rglob("*"):
            if path.is_file():
                entry, body = layout.entry(str(path)), path.read_bytes()
                assert entry is not None
                number = int(owner_of(entry).rpartition("/")[2].removesuffix(".bin"))
                begin = 0 if entry == owner_of(entry) else int(path.name) * BLOCK
                end = begin + (BLOCK if begin or entry != owner_of(entry) else SIZES[number])
                assert body in [one[begin:end] for one in self.bodies(number)]
                there[entry] = len(body)
        known = {entry: int(value.split("|")[0]) for page in index.entries.scan() for entry, value in page}
        assert known == there
        totals = index.entries.totals()
        assert (totals.published, totals.count) == (sum(there.values()), len(there))
        assert (totals.leased, totals.reserved, totals.unindexed) == (0, 0, 0)
        assert index.claims.all() == {}
        assert os.listdir(layout.temporary_dir) == []
        assert leaving.WayOut(cache.engine.files).tokens() == []


def explore_many(
    seeds: Iterable[int], directory: Path, valkey: Valkey, server: HTTPServer, only: Sequence[str] = ()
) -> None:
    for seed in seeds:
        explore(seed, directory, valkey, server, only, make=PartWorld)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_blocks(monkeypatch, BLOCK)


@pytest.mark.timeout(600)
def test_whatever_the_order_of_the_steps(tmp_path: Path, valkey: Valkey, http_server: HTTPServer) -> None:
    explore_many(range(SEEDS) if ONLY is None else [int(ONLY)], tmp_path, valkey, http_server)


@pytest.mark.timeout(600)
def test_a_lease_that_forgets_blocks_is_found(
    tmp_path: Path, valkey: Valkey, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recovery, "blocks_of", lambda recovery, entries: [])
    with pytest.raises(AssertionError, match=r"is under lease-\w+, and gone"):
        explore_many(range(100), tmp_path, valkey, http_server, ("lease_parts", "evict", "evict"))
