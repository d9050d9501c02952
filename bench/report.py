"""Tables and budgets, as they are printed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """One line of the budgets in the design.

    Attributes:
        what: what was measured.
        required: the bound, in words.
        measured: the figure, in words.
        reached: whether it is within the bound.
    """

    what: str
    required: str
    measured: str
    reached: bool

    @classmethod
    def at_least(cls, what: str, measured: float, bound: float, form: str) -> Budget:
        """``form`` formats both figures, as in ``"{:.2f}x"``."""
        return cls(what, f">= {form.format(bound)}", form.format(measured), measured >= bound)

    @classmethod
    def at_most(cls, what: str, measured: float, bound: float, form: str) -> Budget:
        """``form`` formats both figures, as in ``"{:.0f} ms"``."""
        return cls(what, f"<= {form.format(bound)}", form.format(measured), measured <= bound)


def print_budgets(budgets: Sequence[Budget]) -> None:
    """Prints what was required, what was measured, and whether that is enough."""
    print()
    rows = [(b.what, b.required, b.measured, "reached" if b.reached else "NOT REACHED") for b in budgets]
    print_table(("budget", "required", "measured", ""), rows)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())


def spread(values: Sequence[float], form: Callable[[float], str]) -> tuple[str, str]:
    """The median, and the range from the least to the greatest."""
    return form(statistics.median(values)), f"{form(min(values))}–{form(max(values))}"
