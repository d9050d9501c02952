"""PyTorch's loaders over remote media: start methods, ranks, resuming, failures, small caches, tar shards."""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

# Each process of a loader would import it, and Python 3.11 fails where it collects garbage during that.
import numpy.random  # noqa: F401
import pytest
from torch.utils.data import ConcatDataset, DataLoader, Dataset, get_worker_info
from torchdata.stateful_dataloader import StatefulDataLoader

import forebay
from forebay.cache import MediaCache
from forebay.torch import MediaDataset, MediaSampler, TarShards
from tests.caches import MakeCache
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.workers import settings_environment

COUNT = 60


def number_of(path: str) -> int:
    """What is in a file: its number."""
    return int(Path(path).read_bytes().split()[0])


def text_of(sample: dict[str, Any]) -> str:
    return f"{sample['__key__']} {sample['txt'].decode()} {sample['cls'].decode()}"


@pytest.fixture
def cache(make_cache: MakeCache, http_server: HTTPServer) -> MediaCache:
    return make_cache(allowed_sources=[f"{http_server.endpoint}/"], max_attempts=1)


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/{number}.bin", b"%d " % number) for number in range(COUNT)]


def fetched(server: HTTPServer) -> Counter[str]:
    """How often each object was asked for."""
    return Counter(server.endpoint + request.target for request in server.requests)


def numbers(batches: Any) -> list[int]:
    return [number for batch in batches for number in batch.tolist()]


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_processes_that_live_for_two_epochs_fetch_each_object_once(
    start: str, cache: MediaCache, uris: list[str], http_server: HTTPServer
) -> None:
    # Given a loader with processes that it keeps, and a cache that this process has used
    dataset = MediaDataset(uris, number_of, cache=cache)
    assert dataset[7] == 7
    sampler = MediaSampler(dataset)
    loader = DataLoader(
        dataset,
        batch_size=7,
        sampler=sampler,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=start,
    )

    # When it runs for two epochs, then each has all samples, in an order of its own
    same = MediaSampler(dataset)
    orders = [list(same) for _ in range(2)]
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs.append(numbers(loader))
    assert epochs == orders
    assert epochs[0] != epochs[1]

    # And nothing was fetched twice, and its processes leave nothing behind
    assert fetched(http_server) == dict.fromkeys(uris, 1)
    del loader
    assert cache.leases() == []


RANK = """
import os, sys
from torch import distributed
from torch.utils.data import ConcatDataset, DataLoader, Dataset, get_worker_info
from forebay.torch import MediaDataset, MediaSampler
from tests.integration.test_torch import number_of, numbers
rank, place, *uris = sys.argv[1:]
distributed.init_process_group("gloo", init_method=f"file://{place}", rank=int(rank), world_size=2)
dataset = MediaDataset(uris, number_of)
sampler = MediaSampler(dataset, seed=1)
loader = DataLoader(dataset, batch_size=8, sampler=sampler, num_workers=1)
for epoch in range(2):
    sampler.set_epoch(epoch)
    print(*numbers(loader))
    distributed.barrier()
"""


def test_ranks_of_one_machine_fetch_each_object_once(
    cache: MediaCache, uris: list[str], http_server: HTTPServer, tmp_path: Path
) -> None:
    # When two ranks read all samples, and in the next epoch mostly those that the other one had
    environment = os.environ | settings_environment(cache)
    command = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "group"), *uris],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [[line.split() for line in rank.communicate(timeout=100)[0].splitlines()] for rank in ranks]

    # Then they divide each epoch, and each object was asked for once
    for epoch in range(2):
        assert sorted(int(number) for rank in told for number in rank[epoch]) == list(range(COUNT))
    assert told[0][0] != told[0][1]
    assert fetched(http_server) == dict.fromkeys(uris, 1)


@pytest.mark.parametrize("kind", [StatefulDataLoader, DataLoader])
def test_an_epoch_resumes_in_its_middle(
    kind: type[DataLoader[Any]], cache: MediaCache, uris: list[str], http_server: HTTPServer
) -> None:
    def make() -> tuple[DataLoader[Any], MediaSampler]:
        dataset = MediaDataset(uris, number_of, cache=cache)
        sampler = MediaSampler(dataset, seed=2)
        return kind(dataset, batch_size=8, sampler=sampler, num_workers=2), sampler

    # Given a loop that has done three training batches, while its loader is ahead
    loader, sampler = make()
    steps = iter(loader)
    done = numbers(next(steps) for _ in range(3))
    state = loader.state_dict() if isinstance(loader, StatefulDataLoader) else sampler.state_dict(done=24)
    state = pickle.loads(pickle.dumps(state))
    del steps, loader

    # When another one loads its state, then it does the rest in the same order, and the next epoch as a whole
    loader, sampler = make()
    (loader if isinstance(loader, StatefulDataLoader) else sampler).load_state_dict(state)  # type: ignore[attr-defined]
    rest = numbers(loader)
    assert done + rest == list(MediaSampler(range(COUNT), seed=2))
    assert sorted(numbers(loader)) == list(range(COUNT))
    assert fetched(http_server) == dict.fromkeys(uris, 1)


@pytest.mark.parametrize("processes", [0, 1])
def test_what_fails_is_raised_skipped_or_replaced(
    processes: int, cache: MediaCache, uris: list[str], http_server: HTTPServer
) -> None:
    # Given two objects that are not there, one after the other, and one whose content is no number
    missing = [f"{http_server.endpoint}/none-{number}.bin" for number in range(2)]
    samples = [*uris[:3], *missing, *uris[3:6], http_server.put("/broken.bin", b"broken"), uris[6]]

    def loaded(on_error: Any) -> list[list[int]]:
        dataset = MediaDataset(samples, number_of, on_error=on_error, cache=cache)
        sampler = MediaSampler(dataset, shuffle=False)
        loader = DataLoader(dataset, batch_size=5, sampler=sampler, num_workers=processes)
        return [batch.tolist() for batch in loader]

    # Then each is done as told
    with pytest.raises(forebay.SampleError, match=r"sample 3: http://\S+/none-0\.bin: no such object"):
        loaded("raise")
    assert loaded("skip") == [[0, 1, 2], [3, 4, 5, 6]]
    assert loaded("replace") == [[0, 1, 2, 3, 3], [3, 4, 5, 6, 6]]


def test_the_error_of_a_transform_is_raised_as_it_is(cache: MediaCache, http_server: HTTPServer) -> None:
    broken = http_server.put("/broken.bin", b"broken")
    with pytest.raises(ValueError, match="invalid literal"):
        MediaDataset([broken], number_of, cache=cache)[0]


@pytest.fixture
def small(make_cache: MakeCache, http_server: HTTPServer) -> MediaDataset:
    """Sixty samples, and a cache for twelve of them."""
    body = b"%d " + bytes(10_000)
    uris = [http_server.put(f"/{number}.bin", body % number) for number in range(COUNT)]
    cache = make_cache(allowed_sources=[f"{http_server.endpoint}/"], cache_size_bytes=120_100)
    return MediaDataset(uris, number_of, cache=cache)


def test_a_cache_that_is_smaller_than_what_processes_fetch_ahead_serves_them(small: MediaDataset) -> None:
    # Given two processes, each of which fetches 16 samples ahead at first
    loader = DataLoader(small, batch_size=4, sampler=MediaSampler(small), num_workers=2)

    # Then all samples come, in each epoch
    for _ in range(2):
        assert sorted(numbers(loader)) == list(range(COUNT))


def test_what_another_process_has_fetched_ahead_gives_way(small: MediaDataset) -> None:
    # Given a process that has filled the cache with what it needs next, and keeps it under a lease
    go = multiprocessing.get_context("fork").Event()

    def number_when_told(path: str) -> int:
        assert get_worker_info() is None or go.wait(60)
        return number_of(path)

    small.transform = number_when_told
    sampler = MediaSampler(small, shuffle=False)
    steps = iter(DataLoader(small, 16, sampler=sampler, num_workers=1, multiprocessing_context="fork"))
    cache = small._cache
    assert cache is not None
    eventually(lambda: cache.stats()["current_count"] == 12)

    # When this process needs room, then it has it, and the other one fetches again what was evicted
    assert [small[index] for index in (40, 50, 59)] == [40, 50, 59]
    go.set()
    assert numbers(steps) == list(range(COUNT))


def test_a_loop_that_is_left_early_leaves_no_leases_behind(cache: MediaCache, uris: list[str]) -> None:
    dataset = MediaDataset(uris, number_of, cache=cache)
    steps = iter(DataLoader(dataset, batch_size=2, sampler=MediaSampler(dataset), num_workers=2))
    next(steps)
    assert cache.leases() != []

    del steps
    assert cache.leases() == []


def test_any_other_sampler_fetches_the_objects_of_a_batch_together(
    cache: MediaCache, uris: list[str], http_server: HTTPServer
) -> None:
    # Given a server that answers slowly, and samples that are image and mask
    samples = [{"image": image, "mask": mask} for image, mask in zip(uris[::2], uris[1::2], strict=True)]

    def both(sample: dict[str, str]) -> int:
        return number_of(sample["image"]) + number_of(sample["mask"])

    # When a loader shuffles, then each object comes once, and twice asked for is once fetched
    dataset = MediaDataset(samples, both, cache=cache)
    for _ in range(2):
        found = numbers(DataLoader(dataset, batch_size=16, shuffle=True))
        assert sorted(found) == [4 * number + 1 for number in range(COUNT // 2)]
    assert fetched(http_server) == dict.fromkeys(uris, 1)
    assert cache.leases() == []


def test_a_longer_dataset_around_two_of_them_hands_its_own_indices_on(
    cache: MediaCache, uris: list[str]
) -> None:
    halves = [
        MediaDataset(uris[:20], number_of, cache=cache),
        MediaDataset(uris[20:], number_of, cache=cache),
    ]
    both = ConcatDataset(halves)
    assert sorted(numbers(DataLoader(both, batch_size=8, sampler=MediaSampler(both)))) == list(range(COUNT))


class Around(Dataset[tuple[int, int, int | None]]):
    """Somebody's dataset around ours: it asks for one sample at a time."""

    def __init__(self, inner: MediaDataset) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> tuple[int, int, int | None]:
        """A sample, the process, and the position from which on its files are fetched ahead."""
        number, share = self.inner[index], self.inner._paths()._share
        return number, os.getpid(), None if share is None else share._first


def test_a_dataset_around_one_that_asks_for_single_samples_has_its_files_fetched_ahead(
    cache: MediaCache, uris: list[str], http_server: HTTPServer
) -> None:
    around = Around(MediaDataset(uris, number_of, cache=cache))
    loader = DataLoader(
        around,
        batch_size=5,
        sampler=MediaSampler(around),
        num_workers=2,
        collate_fn=list,
        persistent_workers=True,
    )
    first, second = ([one for batch in loader for one in batch] for _ in range(2))
    for epoch in (first, second):
        assert sorted(number for number, _, _ in epoch) == list(range(COUNT))
    # What follows the first training batch of a process tells how many samples one has; then it goes on.
    assert {begin for _, _, begin in first} == {None, 10, 15}
    assert {begin for _, _, begin in second} == {0, 5}
    assert fetched(http_server) == dict.fromkeys(uris, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MediaSampler(5), "expected the dataset, or a list of its length, and this is 5"),  # type: ignore[arg-type]
        (lambda: MediaDataset([], 5), "transform=5 is not allowed: must be a function"),  # type: ignore[arg-type]
        (lambda: TarShards([], 5), "transform=5 is not allowed: must be a function"),  # type: ignore[arg-type]
        (lambda: MediaDataset([], cache="x"), "cache='x' is not allowed: must be a MediaCache"),  # type: ignore[arg-type]
        (lambda: TarShards([], cache="x"), "cache='x' is not allowed: must be a MediaCache"),  # type: ignore[arg-type]
    ],
    ids=["length", "transform", "transform of shards", "cache", "cache of shards"],
)
def test_an_argument_of_a_wrong_type_is_an_error_at_once(make: Callable[[], object], says: str) -> None:
    with pytest.raises(forebay.ConfigError, match=re.escape(says)):
        make()


class TestTarShards:
    SAMPLES = 9

    @pytest.fixture
    def shards(self, http_server: HTTPServer) -> list[str]:
        """Five shards of nine samples; the samples of one are in directories, one is compressed."""
        return [
            http_server.put(f"/{number}.tar.gz" if number == 1 else f"/{number}.tar", _tar(number))
            for number in range(5)
        ]

    def expected(self, *shards: int) -> list[str]:
        return [f"s{shard}/{n:03} text {n} {shard}" for shard in shards for n in range(self.SAMPLES)]

    def test_samples_are_files_of_one_name(self, cache: MediaCache, shards: list[str]) -> None:
        assert list(TarShards(shards, text_of, cache=cache)) == self.expected(*range(5))
        sample = next(iter(TarShards(shards, cache=cache)))
        assert sample == {"__key__": "s0/000", "__url__": shards[0], "txt": b"text 0", "cls": b"0"}

    def test_braces_name_many_shards(self, cache: MediaCache, shards: list[str]) -> None:
        shape = shards[2].replace("/2.tar", "/{2..4}.tar")
        assert list(TarShards(shape, text_of, cache=cache)) == self.expected(2, 3, 4)
        assert list(TarShards([shards[0], shape], text_of, cache=cache)) == self.expected(0, 2, 3, 4)
        with pytest.raises(forebay.UriError, match="runs backwards"):
            TarShards("s3://b/{4..2}.tar")

    def test_a_signed_url_of_a_compressed_shard_is_read(
        self, cache: MediaCache, http_server: HTTPServer
    ) -> None:
        signed = http_server.put("/1.tgz?signature=x", _tar(1))
        assert list(TarShards([signed], text_of, cache=cache)) == self.expected(1)

    def test_ranks_and_processes_divide_the_shards(self, cache: MediaCache, shards: list[str]) -> None:
        # Given two ranks with two processes each, which they keep
        ranks = [
            TarShards(shards, text_of, shuffle=True, rank=rank, world_size=2, cache=cache)
            for rank in range(2)
        ]
        loaders = [DataLoader(rank, batch_size=4, num_workers=2, persistent_workers=True) for rank in ranks]

        # Then together they have everything in each epoch, which reaches these processes
        epochs = []
        for epoch in range(2):
            for rank in ranks:
                rank.set_epoch(epoch)
            epochs.append([[text for batch in loader for text in batch] for loader in loaders])
        assert [sorted(chain.from_iterable(epoch)) for epoch in epochs] == [self.expected(*range(5))] * 2
        assert epochs[0] != epochs[1]

    @pytest.mark.parametrize("processes", [0, 2])
    def test_an_epoch_resumes_in_the_middle_of_its_shards(
        self, processes: int, cache: MediaCache, shards: list[str]
    ) -> None:
        def make() -> tuple[TarShards, StatefulDataLoader[Any]]:
            dataset = TarShards(shards, text_of, shuffle=True, cache=cache)
            dataset.set_epoch(3)
            return dataset, StatefulDataLoader(dataset, batch_size=4, num_workers=processes)

        # Given a loop that has done some training batches
        whole = list(make()[1])
        loader = make()[1]
        steps = iter(loader)
        done = [next(steps) for _ in range(5)]
        state = pickle.loads(pickle.dumps(loader.state_dict()))
        del steps, loader

        # When another one loads its state, then it does the rest
        dataset, loader = make()
        dataset.set_epoch(0)
        loader.load_state_dict(state)
        assert done + list(loader) == whole
        # And the epoch after it is a whole one
        assert sorted(chain.from_iterable(loader)) == self.expected(*range(5))

    def test_a_broken_shard_is_an_error_or_skipped(
        self, cache: MediaCache, shards: list[str], http_server: HTTPServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        http_server.put("/0.tar", _tar(0)[:4000])
        missing = f"{http_server.endpoint}/none.tar"
        with pytest.raises(forebay.SampleError, match=r"/0\.tar cannot be read as a tar file"):
            list(TarShards(shards, text_of, cache=cache))
        with pytest.raises(forebay.SampleError, match="no such object"):
            list(TarShards([missing], cache=cache))

        def text_of_even(sample: dict[str, Any]) -> str:
            if sample["__key__"].endswith("001"):
                raise ValueError("odd")
            return text_of(sample)

        found = list(TarShards([missing, shards[0], shards[2]], text_of_even, on_error="skip", cache=cache))
        assert found[-self.SAMPLES + 1 :] == [text for text in self.expected(2) if "s2/001" not in text]
        assert found[0] == self.expected(0)[0]
        assert "the rest of a shard is skipped" in caplog.text
        assert "s2/001 of " in caplog.text

    def test_damage_in_the_middle_of_a_shard_is_no_early_end(self, cache: MediaCache, tmp_path: Path) -> None:
        # Given a shard with a damaged header, one that ends in a header, and sparse files that claim anything
        shard, header = tmp_path / "0.tar", bytearray(_tar(0))
        header[4 * 1024 + 5] ^= 255
        damaged = [bytes(header), _tar(0)[: 4 * 1024 + 100]]
        for spans, size in (("a,1", "1"), ("0,4", "9" * 15), ("0,4", "9" * 25)):
            sparse = tarfile.TarInfo("0.txt")
            sparse.pax_headers = {"GNU.sparse.map": spans, "GNU.sparse.size": size}
            damaged.append(sparse.tobuf(tarfile.PAX_FORMAT) + bytes(1024))

        # Then none looks like a whole one with fewer samples
        for content in damaged:
            shard.write_bytes(content)
            with pytest.raises(forebay.SampleError, match=r"/0\.tar cannot be read as a tar file: "):
                list(TarShards([str(shard)], cache=cache))
        with pytest.raises(forebay.SampleError, match="cannot be read: Is a directory"):
            list(TarShards([str(tmp_path)], cache=cache))

    def test_the_headers_of_a_long_shard_do_not_stay_in_memory(
        self, cache: MediaCache, tmp_path: Path
    ) -> None:
        (tmp_path / "0.tar").write_bytes(_tar(0))
        for _ in TarShards([str(tmp_path / "0.tar")], cache=cache):
            headers = sum(issubclass(type(one), tarfile.TarInfo) for one in gc.get_objects())
        assert headers <= 3


def _tar(shard: int) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz" if shard == 1 else "w") as tar:
        for number in range(TestTarShards.SAMPLES):
            for extension, content in (("txt", f"text {number}"), ("CLS", str(shard))):
                member = tarfile.TarInfo(f"s{shard}/{number:03}.{extension}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
    return written.getvalue()
