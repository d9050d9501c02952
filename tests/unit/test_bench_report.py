"""Tables, blocks of the page, options and logs of the benchmark, without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import page, parts
from bench.__main__ import main
from bench.access_log import Answer, parse, rates, shares
from bench.budgets import Verdict
from bench.corpus import Corpus, WrongFilesError
from bench.memory import mixed_sizes, table
from bench.process import Run
from bench.report import NoBlockError, Section, aligned, markdown, replace_block, spread, verdict_table
from bench.rounds import Measured
from bench.rows.listing import IncompleteError, check
from bench.sampling import Course
from bench.server.configuration import Listener, configuration, sleeping
from bench.server.listings import write_maps
from bench.transfers import table as transfer_table


def test_a_table_is_aligned_for_a_terminal() -> None:
    assert aligned(("", "n"), [("a", "10"), ("long", "2")]) == "       n\n----  --\na     10\nlong   2"


def test_a_table_of_the_page_has_our_rows_in_bold() -> None:
    text = markdown(("", "n"), [("Forebay", "1"), ("a|b", "2")])
    assert text.splitlines() == ["|  | n |", "| --- | --- |", "| **Forebay** | 1 |", "| a\\|b | 2 |"]


def test_a_spread_is_the_median_and_the_limits() -> None:
    assert spread([3, 1, 2], "{:.1f}".format) == ("2.0", "1.0–3.0")


def test_verdicts_become_a_table() -> None:
    verdicts = [Verdict.at_most("a", 7, 6, "{:.1f} µs"), Verdict.unmeasured("b", ">= 1", "no server")]
    rows = verdict_table(verdicts)[1]
    assert list(rows) == [
        ("a", "<= 6.0 µs", "7.0 µs", "NOT REACHED"),
        ("b", ">= 1", "not measured: no server", "-"),
    ]


def test_a_block_is_replaced_and_the_prose_around_it_stays() -> None:
    text = "before\n<!-- bench: a -->\n\nold \\1\n\n<!-- /bench: a -->\nafter\n"
    changed = replace_block(text, "a", "new \\1")
    assert changed == "before\n<!-- bench: a -->\n\nnew \\1\n\n<!-- /bench: a -->\nafter\n"
    assert replace_block(changed, "a", "new \\1") == changed
    with pytest.raises(NoBlockError):
        replace_block(text, "b", "new")


def test_the_page_has_a_block_for_every_part() -> None:
    sections = [Section(name, [f"This is {name}."]) for name in parts.NAMES]
    text = page.written(page.PAGE.read_text(), "This machine.", sections, [])
    for name in (*parts.NAMES, "machine", "budgets"):
        assert f"<!-- bench: {name} -->" in text
    assert all(f"This is {name}." in text for name in parts.NAMES)
    page.with_blocks(text, {"memory": "", "throttle": ""})


@pytest.mark.parametrize("words", [["nonsense"], ["--write", "small"], ["--write", "--only", "rclone"]])
def test_wrong_options_are_refused_before_anything_runs(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def test_transfers_are_told_per_object_and_as_bytes_for_one() -> None:
    found = Measured({"tool": [Run(2.0, 1.0, 50_000_000, "")]})
    assert transfer_table(found, 1000, 100, 1)[1] == [
        ("tool", "500", "500–500", "2.00", "1,000", "1,000–1,000", "50")
    ]
    assert transfer_table(found, 1, 4_000_000, 3)[1][0][:2] == ("tool (1 rounds)", "2")


def test_sizes_reach_from_one_byte_to_64_mib_evenly() -> None:
    sizes = mixed_sizes(270)
    assert (min(sizes), max(sizes), len(sizes)) == (1, 64 << 20, 270)
    assert sorted(sizes)[135] == pytest.approx(8192, rel=0.1)
    assert mixed_sizes(270) == sizes


def test_the_course_of_memory_is_compared_with_the_setting() -> None:
    course = Course([0.0, 0.1, 0.2, 0.3], [1e6, 3e8, 2e8, 1e8])
    assert (course.most, course.above(2e8)) == (3e8, 0.25)
    assert ("within the setting", "NO") in table(course, 256 << 20)[1]
    assert Course().above(1) == Course().most == 0.0


def test_rates_are_counted_while_the_limit_holds_and_after() -> None:
    log = "100.0 204 /.ready\n" + "".join(f"{100 + n / 10} 200 /a/{n}\n" for n in range(200)) + "bro"
    answers = [*parse(log), Answer(105.0, 503, "/a/1"), *[Answer(120.5, 200, "/a/x")] * 70]
    assert rates(answers, 110.0, 120.0) == (10.0, 70.0)
    assert rates([], 1.0, 5.0) == (0.0, 0.0)
    assert shares(answers, 110.0, 111.0, ["a", "b"]) == [10, 0]


def test_a_listing_must_have_every_name_once(tmp_path: Path) -> None:
    names = Corpus.names(tmp_path, "names", 3)
    keys = list(names.md5)
    check("".join(f"2026-01-01 00:00:00  100 {key}\n" for key in keys), names)
    check("".join(f"s3://names/{key}\n" for key in reversed(keys)), names)
    with pytest.raises(IncompleteError):
        check("\n".join([keys[0], keys[1], keys[1]]), names)


def test_files_must_be_those_of_the_server(tmp_path: Path) -> None:
    corpus = Corpus.make(tmp_path, "photos", 3, 10, 20)
    assert [corpus.size_of(key) for key in corpus.md5] == [10, 20, 20]
    corpus.check(tmp_path / "photos")
    (tmp_path / "photos" / "000001.jpg").write_bytes(b"x" * 20)
    with pytest.raises(WrongFilesError, match=r"000001\.jpg is not what"):
        corpus.check(tmp_path / "photos")
    (tmp_path / "photos" / "000001.jpg").unlink()
    with pytest.raises(WrongFilesError, match="2 files"):
        corpus.check(tmp_path / "photos")


def test_listings_have_pages_for_both_versions_and_for_gcs(tmp_path: Path) -> None:
    write_maps(tmp_path, [Corpus.names(tmp_path, "names", 2500)])
    assert sorted(path.name for path in (tmp_path / ".pages" / "names").iterdir()) == ["0", "1", "2"]
    assert "<NextContinuationToken>page-1<" in (tmp_path / ".pages" / "names" / "0").read_text()
    assert '"nextPageToken": "page-2"' in (tmp_path / ".gcs-pages" / "names" / "1").read_text()
    assert "photographs(/|%2F)0000000999" in (tmp_path / "markers").read_text()
    assert (tmp_path / "etags").read_text() == ""


def test_a_late_server_sleeps_or_asks_one_that_does(tmp_path: Path) -> None:
    listeners = {
        "late": Listener(1234, True, sleeping(0.03)),
        "other": Listener(1235, upstream="127.0.0.1:99"),
    }
    text = configuration(tmp_path, tmp_path, listeners, modules=(Path("lua.so"),))
    assert "load_module lua.so;" in text
    assert "listen 127.0.0.1:1234 ssl backlog" in text
    assert "ngx.sleep(0.03)" in text
    assert "upstream other { server 127.0.0.1:99; keepalive 512; }" in text
    assert text.count("{") == text.count("}")
