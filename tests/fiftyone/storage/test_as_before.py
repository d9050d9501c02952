"""What fiftyone.core.storage does with local files, how many at a time, and what it says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from forebay import capacity
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.places import Places


class TestLocal:
    """Given local paths, a function is FiftyOne's own."""

    CALLS: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
        ("exists", ("/a",), {}),
        ("isfile", ("/a",), {}),
        ("isdir", ("/a",), {}),
        ("join", ("/a", "b", "c"), {}),
        ("sep", ("/a",), {}),
        ("normalize_path", ("~/a",), {}),
        ("abspath", ("a/..",), {}),
        ("realpath", ("a/..",), {}),
        ("normpath", ("a\\b",), {}),
        ("get_file_size", ("/a",), {}),
        ("ensure_dir", ("/a",), {}),
        ("ensure_basedir", (), {"path": "/a/b"}),
        ("ensure_empty_dir", ("/a",), {"cleanup": True}),
        ("delete_dir", ("/a",), {}),
        ("_delete_file", ("/a",), {}),
        ("_read_file", ("/a",), {"binary": True}),
        ("_copy_file", ("/a", "/b"), {"cleanup": True}),
        ("write_file", (b"x", "/a"), {}),
        ("read_json", ("/a",), {}),
        ("write_yaml", ({"a": 1}, "/a"), {"sort_keys": True}),
        ("list_subdirs", ("/a",), {"abs_paths": True, "recursive": True}),
        ("get_glob_matches", ("/a/*",), {}),
        ("make_archive", ("/a", "/b.zip"), {"cleanup": True}),
        ("extract_archive", ("/b.zip",), {"outdir": "/c", "cleanup": True}),
        ("_run", (len, [("/a",)]), {"return_results": False, "progress": None}),
    )

    @pytest.mark.parametrize(("name", "args", "kwargs"), CALLS, ids=[name for name, *_ in CALLS])
    def test_it_is_called_as_it_was(self, fos: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]):
        import inspect

        # Given what the adapter does around a function, and a stand-in for the function
        wrapper: Callable[..., Any] = getattr(fos, name)
        ours = inspect.getclosurevars(wrapper).nonlocals["function"]
        calls: list[inspect.BoundArguments] = []
        signature = inspect.signature(wrapper)

        def original(*args: Any, **kwargs: Any) -> str:
            calls.append(signature.bind(*args, **kwargs))
            return "the original's"

        # When it is called with local paths
        result = ours(original, *args, **kwargs)

        # Then that is all that happens
        assert result in ("the original's", None)
        [call] = calls
        expected = signature.bind(*args, **kwargs)
        call.apply_defaults()
        expected.apply_defaults()
        assert call.arguments == expected.arguments


@pytest.mark.parametrize(
    ("fiftyones", "ours", "threads"), [(None, 2, 2), (None, 40, 40), (3, 40, 3)], ids=str
)
def test_as_many_files_are_handled_at_a_time_as_is_set(
    fiftyones: int | None,
    ours: int,
    threads: int,
    fo: Any,
    use_cache: UseCache,
    monkeypatch: pytest.MonkeyPatch,
):
    """FiftyOne's own setting comes first, then the cache's."""
    from forebay.fiftyone.storage.concurrency import workers

    use_cache(num_workers=ours)
    monkeypatch.setattr(fo.config, "default_thread_pool_workers", fiftyones)

    assert workers() == threads


def test_where_nothing_is_set_sixteen_files_are_handled_at_a_time(
    fo: Any, use_cache: UseCache, monkeypatch: pytest.MonkeyPatch
):
    """Or as many as there are CPUs, if that is more."""
    from forebay.fiftyone.storage.concurrency import workers

    use_cache(num_workers="")
    monkeypatch.setattr(fo.config, "default_thread_pool_workers", None)

    assert workers() == max(16, capacity.cpus())


def test_messages_hold_no_secrets(fos: Any, places: Places, caplog: pytest.LogCaptureFixture):
    for ours in ("forebay", "fiftyone"):
        caplog.set_level(logging.DEBUG, logger=ours)
    caplog.set_level(logging.INFO, logger="urllib3")
    url = places.root("http") + "missing.txt?X-Amz-Signature=secret"

    with pytest.raises(FileNotFoundError) as caught:
        fos.read_file(url)
    fos.read_files([url], skip_failures=True)

    assert "secret" not in str(caught.value)
    assert "missing.txt" in caplog.text
    assert "secret" not in caplog.text
