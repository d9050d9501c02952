"""The page about metrics names each of them, and says what the code says.

``python -m tests.unit.test_docs_metrics`` writes the tables anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from forebay.metrics import catalogue
from forebay.metrics.catalogue import Metric

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
_BEGIN = "<!-- {}: written by tests/unit/test_docs_metrics.py -->\n"
_END = "<!-- end of {} -->"


def tables() -> dict[str, str]:
    """The page's tables."""
    reasons = [f"| `{name}` | {text} |" for name, text in catalogue.REASONS.items()]
    return {
        "volume": _table(catalogue.OF_VOLUME),
        "process": _table(catalogue.OF_PROCESS),
        "reasons": "\n".join(["| reason | means |", "|---|---|", *reasons]),
    }


def test_the_page_lists_every_metric_and_every_reason() -> None:
    text = PAGE.read_text()
    shown = {name: _between(text, name) for name in tables()}
    assert shown == tables(), "run python -m tests.unit.test_docs_metrics"


def test_names_follow_the_conventions_of_prometheus() -> None:
    for metric in (*catalogue.OF_VOLUME, *catalogue.OF_PROCESS):
        assert metric.name.startswith("forebay_")
        assert not metric.name.endswith("_total"), "the suffix comes with the kind"
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert metric.text.endswith(".")


def test_no_name_means_two_things() -> None:
    names = [metric.name for metric in (*catalogue.OF_VOLUME, *catalogue.OF_PROCESS)]
    assert len(names) == len(set(names))


def _table(metrics: Iterable[Metric]) -> str:
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in ("volume", *metric.labels))
        lines.append(f"| `{metric.shown}` | {metric.kind} | {labels} | {metric.text} |")
    return "\n".join(lines)


def _between(text: str, name: str) -> str:
    return text.partition(_BEGIN.format(name))[2].partition(_END.format(name))[0].strip()


if __name__ == "__main__":
    page = PAGE.read_text()
    for name, table in tables().items():
        before, begin, rest = page.partition(_BEGIN.format(name))
        end = _END.format(name)
        page = f"{before}{begin}\n{table}\n\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(page)
