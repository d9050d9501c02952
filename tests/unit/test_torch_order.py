"""The order of an epoch for PyTorch: what each rank and each process has, and where it resumes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import namedtuple
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from forebay.errors import ConfigError, SampleError, UriError
from forebay.torch import MediaDataset, MediaSampler, TarShards
from forebay.torch.epoch_order import Place
from forebay.torch.paths_ahead import Share


def samplers(length: int, ranks: int, **options: object) -> list[MediaSampler]:
    return [MediaSampler(range(length), rank=rank, world_size=ranks, **options) for rank in range(ranks)]


def test_the_ranks_have_each_sample_once_and_as_many_each() -> None:
    shares = [list(sampler) for sampler in samplers(12, 3)]

    assert sorted(chain.from_iterable(shares)) == list(range(12))
    assert [len(share) for share in shares] == [4, 4, 4]
    assert shares != [sorted(share) for share in shares]


def test_what_is_left_is_read_twice_or_left_out() -> None:
    twice = [index for sampler in samplers(10, 4) for index in sampler]
    out = [index for sampler in samplers(10, 4, drop_last=True) for index in sampler]

    assert set(twice) == set(range(10))
    assert len(twice) == 12
    assert len(set(out)) == len(out) == 8
    assert (
        [len(sampler) for sampler in samplers(1, 4)] == [len(list(one)) for one in samplers(1, 4)] == [1] * 4
    )


def test_each_epoch_has_another_order_and_the_same_seed_the_same() -> None:
    sampler = MediaSampler(range(20), seed=3)
    first, second = list(sampler), list(sampler)
    assert first != second
    sampler.set_epoch(0)
    assert list(sampler) == first == list(MediaSampler(range(20), seed=3))
    assert list(MediaSampler(range(20), shuffle=False)) == list(range(20))


def test_a_state_resumes_with_another_number_of_ranks() -> None:
    # Given two ranks, each of which has done four of its ten samples
    before = samplers(20, 2, seed=5)
    done = [index for sampler in before for _, index in zip(range(4), sampler, strict=False)]
    state = pickle.loads(pickle.dumps(before[0].state_dict(done=4)))
    assert state == before[1].state_dict(done=4) == before[1].state_dict()

    # When three ranks load the state, then they read the rest
    after = samplers(20, 3)
    for sampler in after:
        sampler.load_state_dict(state)
        sampler.set_epoch(sampler.epoch)
    rest = [index for sampler in after for index in sampler]
    assert set(rest).isdisjoint(done)
    assert sorted({*rest, *done}) == list(range(20))
    # And the next epoch is a whole one
    assert after[0].epoch == 1
    assert len(list(after[0])) == len(after[0]) == 7


def test_the_state_at_the_end_of_an_epoch_begins_the_next() -> None:
    sampler = MediaSampler(range(8))
    steps = iter(sampler)
    for _ in range(8):
        next(steps)

    assert sampler.state_dict() == sampler.state_dict(done=100)
    assert (sampler.state_dict()["epoch"], sampler.state_dict()["start"]) == (1, 0)
    assert sampler.state_dict(done=3)["start"] == 3


def test_a_rank_comes_from_torchrun_and_wrong_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(MediaSampler(range(4), shuffle=False)) == [1, 3]
    with pytest.raises(ConfigError, match="rank=2 is not allowed: must be from 0 to 1"):
        MediaSampler(range(4), rank=2)
    with pytest.raises(ConfigError, match="is of 5 samples, and there are 4 now"):
        MediaSampler(range(4)).load_state_dict(MediaSampler(range(5)).state_dict())
    with pytest.raises(ConfigError, match="none of a MediaSampler"):
        MediaSampler(range(4)).load_state_dict({"epoch": 1})
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="the environment has WORLD_SIZE='two': must be a whole number"):
        MediaSampler(range(4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"world_size": 0}, "world_size=0 is not allowed: must be a whole number of at least 1"),
        ({"rank": "0"}, "rank='0' is not allowed: must be a whole number"),
        ({"seed": None}, "seed=None is not allowed"),
        ({"seed": 1 << 70}, "seed=1180591620717411303424 is not allowed"),
    ],
)
def test_what_is_no_whole_number_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    for make in (partial(MediaSampler, range(4)), partial(TarShards, [])):
        with pytest.raises(ConfigError, match=message):
            make(**arguments)


def test_a_wrong_epoch_or_state_is_refused() -> None:
    sampler, shards = MediaSampler(range(4)), TarShards([])
    for wrong in (None, "1", 0.5, 1 << 70):
        for one in (sampler, shards):
            with pytest.raises(ConfigError, match=r"epoch=.* is not allowed: must be a whole number"):
                one.set_epoch(wrong)  # type: ignore[arg-type]
    next(iter(sampler))
    with pytest.raises(ConfigError, match="done=-1 is not allowed: must be a whole number of at least 0"):
        sampler.state_dict(done=-1)
    for state in (None, 5, sampler.state_dict() | {"start": -1, "shard": -1, "offset": 0}):
        for one in (sampler, shards):
            with pytest.raises(ConfigError, match=f"the state .* is none of a {type(one).__name__}"):
                one.load_state_dict(state)


def test_a_state_of_other_shards_or_ranks_is_refused_and_the_order_goes_along() -> None:
    state = TarShards(["a.tar"] * 3, shuffle=True, seed=5).state_dict()
    for other in (TarShards(["a.tar"] * 4), TarShards(["a.tar"] * 3, world_size=2)):
        with pytest.raises(ConfigError, match="is of 3 shards and world_size=1, and there are"):
            other.load_state_dict(state)
    shards = TarShards(["a.tar"] * 3)
    shards.load_state_dict(state)
    assert shards.state_dict() == state


@pytest.mark.parametrize(("first", "size", "processes"), [(0, 4, 1), (4, 4, 3), (3, 5, 2), (29, 4, 2)])
def test_the_share_of_a_process_is_what_the_loader_deals_to_it(first: int, size: int, processes: int) -> None:
    # Given an order of 31, of which this process has a training batch that begins somewhere
    places = pickle.loads(pickle.dumps(list(MediaSampler(range(31)))))
    assert all(type(place) is Place for place in places)
    share = Share(places[0].order, first, size, processes, lambda index: [str(index)])

    # Then the others are those in each round after it
    starts = range(first, 31, size * processes)
    expected = [str(place) for start in starts for place in places[start : start + size]]
    assert share[:] == [[uri] for uri in expected]
    assert len(share) == len(expected)
    assert [share.number(start, 1) for start in starts] == [n * size for n in range(len(starts))]
    if processes > 1:
        assert share.number(first + size, 1) is None
    assert share.number(first, size + 1) is None


class TestSamples:
    @pytest.fixture
    def a(self, tmp_path: Path) -> str:
        (tmp_path / "a.jpg").write_bytes(b"pixels")
        return str(tmp_path / "a.jpg")

    def test_paths_take_the_place_of_media_and_other_values_stay(self, a: str) -> None:
        pair = namedtuple("pair", "image label")
        samples = [{"image": Path(a), "views": [a, a], "mask": None, "label": "cat"}]
        assert MediaDataset(samples, fields=("image", "views", "mask"))[0] == {
            "image": a, "views": [a, a], "mask": None, "label": "cat"
        }  # fmt: skip
        assert MediaDataset([pair(a, 3)], lambda sample: sample.label)[0] == 3
        assert MediaDataset([a, Path(a)], len).__getitems__([0, 1]) == [len(a)] * 2
        assert MediaDataset([["a: b", a, 1]], fields=[1])[0] == ["a: b", a, 1]

    def test_a_sample_of_another_type_fails_alone(self, a: str, caplog: pytest.LogCaptureFixture) -> None:
        dataset = MediaDataset([a, 7, a], on_error="skip")
        assert dataset.__getitems__([0, 1, 2]) == [a, a]
        assert "sample 1 is skipped: expected a URI, or a tuple or dictionary with some" in caplog.text
        with pytest.raises(SampleError, match="all 1 samples of a training batch failed"):
            dataset[1]
        with pytest.raises(IndexError):
            dataset[3]

    def test_a_warning_says_what_a_transform_raised(self, a: str, caplog: pytest.LogCaptureFixture) -> None:
        def no_mask(sample: dict[str, str]) -> str:
            return sample["mask" if sample["id"] == "0" else "id"]

        samples = [{"image": a, "id": str(number)} for number in range(2)]
        assert MediaDataset(samples, no_mask, on_error="skip").__getitems__([0, 1]) == ["1"]
        assert MediaDataset(samples, no_mask, on_error="replace")[0] == "1"
        assert "sample 0 is skipped: KeyError('mask')" in caplog.text
        assert "sample 0 is replaced by sample 1: KeyError('mask')" in caplog.text

    def test_wrong_arguments_are_refused(self, a: str) -> None:
        for wrong in (a, {"image": a}, None, 5):
            with pytest.raises(UriError, match="expected a list of samples"):
                MediaDataset(wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"expected a list of fields: write \['image'\]"):
            MediaDataset([{"image": a}], fields="image")
        with pytest.raises(ConfigError, match="no sample has the field mask"):
            MediaDataset([{"image": a}], fields=["image", "mask"])
        with pytest.raises(ConfigError, match="on_error='ignore' is not allowed"):
            MediaDataset([a], on_error="ignore")  # type: ignore[arg-type]


def test_without_pytorch_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; import forebay; forebay.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("ImportError: forebay.torch needs PyTorch: pip install 'forebay[torch]'\n")
