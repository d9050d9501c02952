"""Which keys obstore asks for exactly; it is asked itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.sources.fast import keeps_key


@pytest.mark.parametrize(
    "key",
    ["a", "a/b", "a b", "a+b%20c", "...", "a/...", ".a", "a.", "a/.b/c..", "é", "a\\b", "a?b#c", "~", "*"],
)
def test_tidy_keys(key: str):
    assert keeps_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "./a",
        "../a",
        "a/.",
        "a/..",
        "a/./b",
        "a/../b",
        "a\nb",
        "a\0",
        "\x7f",
    ],
)
def test_untidy_keys(key: str):
    assert not keeps_key(key)


@given(
    st.lists(
        st.sampled_from(["a", ".", "..", "...", "", "/", "//", " ", "%2F", "\n", "\x7f", "é", "\\"])
    ).map("".join)
)
def test_a_key_called_tidy_comes_back_from_obstore_as_it_was(key: str):
    # Imported here: an interpreter that has obstore loaded forks children that will not use it.
    import obstore
    from obstore.store import MemoryStore

    if keeps_key(key):
        store = MemoryStore()
        obstore.put(store, key, b"x")
        assert [item["path"] for page in obstore.list(store) for item in page] == [key]
