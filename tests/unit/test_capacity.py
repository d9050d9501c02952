"""``--processes auto``: CPUs by affinity and quota, bounded by memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay import capacity
from forebay.capacity import WORKER_BYTES
from forebay.errors import ConfigError

V1_NONE = "9223372036854771712"


@pytest.fixture(autouse=True)
def large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 CPUs, with memory for 32 workers."""
    monkeypatch.setattr(capacity, "_cpus", lambda: 16)
    monkeypatch.setattr(capacity, "_physical_memory", lambda: 32 * WORKER_BYTES)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, 16),
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, 16),
        ("0::/\n", {"cpu.max": "400000 100000"}, 4),
        ("0::/\n", {"cpu.max": "250000 100000"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"memory.max": f"{3 * WORKER_BYTES}"}, 3),
        ("0::/\n", {"memory.max": "1000000"}, 1),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/cpu.max": "300000 100000"}, 3),
        ("0::/a.slice/b.service\n", {"a.slice/cpu.max": "300000 100000"}, 3),
        (
            "4:memory:/docker/7f\n2:cpu,cpuacct:/docker/7f\n0::/\n",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "500000",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": V1_NONE,
            },
            5,
        ),
        (
            "4:memory:/docker/7f\n2:cpu,cpuacct:/\n",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
                "memory/docker/7f/memory.limit_in_bytes": f"{2 * WORKER_BYTES}",
            },
            2,
        ),
        ("0::/\n", {"cpu.max": "nonsense", "memory.max": ""}, 16),
    ],
    ids=[
        "no control groups",
        "v2, no limits",
        "v2, a quota",
        "v2, a quota of two and a half",
        "v2, half a CPU",
        "v2, memory for three",
        "v2, memory for none",
        "v2, a service of systemd",
        "v2, the slice above it",
        "v1 in a container",
        "v1 on the machine",
        "what cannot be read",
    ],
)
def test_auto(
    groups: str,
    files: dict[str, str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    assert capacity.auto(tmp_path) == expected
    # The number of CPUs alone, which memory does not bound.
    monkeypatch.setattr(capacity, "_physical_memory", lambda: 0)
    by_memory = {"v2, memory for three", "v2, memory for none", "v1 on the machine"}
    assert capacity.cpus(tmp_path) == (16 if request.node.callspec.id in by_memory else expected)


def test_on_this_machine() -> None:
    assert 1 <= capacity.parse("auto") <= 16


def test_a_number() -> None:
    assert capacity.parse("3") == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²", ""])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a number of processes: write 1 to 512, or auto"):
        capacity.parse(text)
