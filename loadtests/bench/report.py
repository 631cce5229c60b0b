"""What a bench came to: a table for people, JSON for machines, and a verdict.

Ratios are the median of those of the rounds: both sides of a round ran one right after the other,
so whatever else the machine did then, it did to both.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.bench.cases import Case
from loadtests.bench.measure import Round, Run


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All rounds of one case, and the ratio that is asked of them, if any."""

    case: Case
    rounds: Sequence[Round]
    target: float | None

    @property
    def ratios(self) -> list[float]:
        """The product's throughput beside the floor's, round by round."""
        return [each.product.rows_per_s / each.floor.rows_per_s for each in self.rounds]

    @property
    def ratio(self) -> float:
        """The median of `ratios`."""
        return statistics.median(self.ratios)

    @property
    def is_missed(self) -> bool:
        """Whether there is a target and the ratio is below it."""
        return self.target is not None and self.ratio < self.target

    def median(self, side: str, figure: Callable[[Run], float]) -> float:
        """Return the median of one side's figure."""
        return statistics.median(figure(getattr(each, side)) for each in self.rounds)


def server_cpu(run: Run) -> float:
    """Return the server's CPU seconds per 1,000 rows."""
    return run.server_cpu_s / run.rows * 1_000


def database_cpu(run: Run) -> float:
    """Return PostgreSQL's CPU seconds per 1,000 rows."""
    return run.database_cpu_s / run.rows * 1_000


def throughput(run: Run) -> float:
    """Return the rows per second."""
    return run.rows_per_s


def show(results: Sequence[Figures], console: Console) -> None:
    """Print the medians; both sides' figures stand as floor / product."""
    table = Table(title="Push, floor / product, medians")
    table.add_column("case")
    for name in ("rows/s", "ratio", "(range)", "target", "server CPU", "database CPU"):
        table.add_column(name, justify="right")
    for figures in results:
        low, high = min(figures.ratios), max(figures.ratios)
        style = "red" if figures.is_missed else "green" if figures.target else "bold"
        table.add_row(
            figures.case.title,
            _pair(figures, throughput, "{:,.0f}"),
            f"[{style}]{figures.ratio:.2f}[/]",
            f"{low:.2f}–{high:.2f}",
            f"{figures.target:.2f}" if figures.target else "",
            _pair(figures, server_cpu, "{:.3f}"),
            _pair(figures, database_cpu, "{:.3f}"),
        )
    console.print(table)
    console.print("CPU in seconds per 1,000 rows; ratio: median of the rounds' ratios.")


def as_json(results: Sequence[Figures]) -> dict[str, Any]:
    """Return all figures, every round of them."""
    return {
        figures.case.name: {
            "title": figures.case.title,
            "ratio": round(figures.ratio, 3),
            "target": figures.target,
            "is_missed": figures.is_missed,
            "rows_per_s": _sides(figures, throughput),
            "server_cpu_s_per_1000_rows": _sides(figures, server_cpu),
            "database_cpu_s_per_1000_rows": _sides(figures, database_cpu),
            "rounds": [dataclasses.asdict(each) for each in figures.rounds],
        }
        for figures in results
    }


def _pair(figures: Figures, figure: Callable[[Run], float], form: str) -> str:
    sides = (figures.median(side, figure) for side in ("floor", "product"))
    return " / ".join(form.format(value) for value in sides)


def _sides(figures: Figures, figure: Callable[[Run], float]) -> dict[str, float]:
    return {side: round(figures.median(side, figure), 5) for side in ("floor", "product")}
