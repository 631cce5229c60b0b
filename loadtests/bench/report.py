"""What a bench came to: a table for people, JSON for machines, and a verdict.

A ratio is the median of those of the rounds: both sides of a round ran one right after the other,
so whatever else the machine did then, it did to both.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from loadtests.bench.cases import Case, DeviceCase, PullCase, Task
from loadtests.bench.rounds import Round, Run

PER_UNITS: Final = 1_000  # CPU is given for so many rows, or requests
TICK_S: Final = 0.01  # the system counts CPU in these; work that took less shows as none
FOREIGN_SHARE_MAX: Final = 0.1  # of the cores; beyond it, clocks measure the others too
SIDES: Final = ("floor", "product")
SMALL, LARGE = "changed", "changed-large"  # the same work among few rows and among many
FEW, ALL = "device-sync-few", "device-sync"  # the same work with few rows and with many
MIB: Final = 1024 * 1024
LEGEND: Final = f"""\
Figures are floor / product, medians of the rounds. What is counted are rows, and requests (r)
where there are none; CPU is in seconds per {PER_UNITS:,} of them.
ratio   the product's throughput beside the floor's; range: the worst and the best round
by CPU  the same of the CPU that server and database used: steadier on a busy machine
Of a device the floor is the same by hand, and CPU is the device's own."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All rounds of one case, and the ratio that is asked of them, if any."""

    case: Case
    rounds: Sequence[Round]
    target: float | None

    @property
    def ratios(self) -> list[float]:
        """The product's throughput beside the floor's, round by round."""
        return [per_s(each.product) / per_s(each.floor) for each in self.rounds]

    @property
    def ratio(self) -> float:
        """The median of `ratios`."""
        return statistics.median(self.ratios)

    @property
    def cpu_ratio(self) -> float:
        """The floor's CPU beside the product's, median of the rounds."""
        return statistics.median(
            _at_least_a_tick(each.floor) / _at_least_a_tick(each.product) for each in self.rounds
        )

    @property
    def foreign_share(self) -> float:
        """The share of the machine's cores that others had, the worse side."""
        return max(self.medians(foreign_share).values())

    @property
    def is_busy(self) -> bool:
        """Whether others took so much of the machine that its clock measured them too."""
        return self.foreign_share > FOREIGN_SHARE_MAX

    @property
    def is_missed(self) -> bool:
        """Whether the ratio (by CPU where the machine is busy) is below the target, if any."""
        judged = self.cpu_ratio if self.is_busy else self.ratio
        return self.target is not None and judged < self.target

    def medians(self, figure: Callable[[Run], float]) -> dict[str, float]:
        """Return the median of a figure, by side."""
        return {
            side: statistics.median(figure(getattr(each, side)) for each in self.rounds)
            for side in SIDES
        }


def per_s(run: Run) -> float:
    """Return the throughput, as all clients together saw it."""
    return run.units / run.seconds


def server_cpu(run: Run) -> float:
    """Return the server's CPU seconds per 1,000 units."""
    return run.server_cpu_s / run.units * PER_UNITS


def database_cpu(run: Run) -> float:
    """Return PostgreSQL's CPU seconds per 1,000 units."""
    return run.database_cpu_s / run.units * PER_UNITS


def all_cpu(run: Run) -> float:
    """Return the CPU seconds of both per 1,000 units."""
    return server_cpu(run) + database_cpu(run)


def _at_least_a_tick(run: Run) -> float:
    """Return the CPU seconds of both, as far as they can be told from nothing."""
    return max(run.server_cpu_s + run.database_cpu_s, TICK_S)


def foreign_share(run: Run) -> float:
    """Return the share of the machine's cores that was not the bench's to use."""
    return run.foreign_cpu_s / run.seconds / (os.cpu_count() or 1)


def show(results: Sequence[Figures], console: Console) -> None:
    """Print the medians."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for name in ("per s", "ratio", "range", "target", "by CPU", "server CPU", "database CPU"):
        table.add_column(name, justify="right")
    for figures in results:
        style = "red" if figures.is_missed else "green" if figures.target else "bold"
        table.add_row(
            figures.case.title,
            _pair(figures, per_s, "{:,.0f}") + _mark(figures.case),
            f"[{style}]{figures.ratio:.2f}[/]",
            f"{min(figures.ratios):.2f} to {max(figures.ratios):.2f}",
            f"{figures.target:.2f}" if figures.target else "",
            f"{figures.cpu_ratio:.2f}",
            _pair(figures, server_cpu, "{:.3f}"),
            _pair(figures, database_cpu, "{:.3f}"),
        )
    console.print(table)
    console.print(LEGEND)
    growth = find_growth(results)
    if growth:
        console.print(
            "[bold]Changed rows of a large tenant beside those of a small one[/], "
            "floor / product: CPU {:.2f} / {:.2f}, time {:.2f} / {:.2f}.".format(*growth)
        )
    peaks = find_peaks(results)
    if peaks:
        console.print(
            "[bold]Memory of a device in a first sync[/], a fifth of the rows and all of them: "
            "{:.0f} and {:.0f} MiB.".format(*(peak / MIB for peak in peaks))
        )
    if any(figures.is_busy for figures in results):
        share = max(figures.foreign_share for figures in results)
        console.print(
            f"[yellow]Others used up to {share:.0%} of this machine. Both sides waited for them, "
            "so the ratio looks better than it is: targets are judged by CPU.[/]"
        )


def as_json(results: Sequence[Figures]) -> dict[str, Any]:
    """Return all figures by case, every round of them."""
    return {
        figures.case.name: {
            "title": figures.case.title,
            "ratio": round(figures.ratio, 3),
            "cpu_ratio": round(figures.cpu_ratio, 3),
            "target": figures.target,
            "is_missed": figures.is_missed,
            "per_s": figures.medians(per_s),
            "server_cpu_s_per_1000": figures.medians(server_cpu),
            "database_cpu_s_per_1000": figures.medians(database_cpu),
            "foreign_share": figures.foreign_share,
            "peak_bytes": figures.medians(lambda run: run.peak_bytes),
            "rounds": [dataclasses.asdict(each) for each in figures.rounds],
        }
        for figures in results
    }


def find_growth(results: Sequence[Figures]) -> tuple[float, float, float, float] | None:
    """Return how many times as much changed rows cost in the large tenant as in the small one.

    CPU of floor and product, then seconds of both; None if the two cases were not measured.
    """
    by_name = {figures.case.name: figures for figures in results}
    small, large = by_name.get(SMALL), by_name.get(LARGE)
    if small is None or large is None:
        return None
    cpu, speed = (
        [(large.medians(figure)[side], small.medians(figure)[side]) for side in SIDES]
        for figure in (all_cpu, per_s)
    )
    return (
        *(many / max(few, 1e-9) for many, few in cpu),
        *(few / many for many, few in speed),
    )  # type: ignore[return-value]  # two of each


def find_peaks(results: Sequence[Figures]) -> tuple[float, float] | None:
    """Return the SDK's peak of memory in a first sync of few rows, and of all of them, in bytes.

    None if not both cases were measured.
    """
    by_name = {figures.case.name: figures for figures in results}
    few, whole = by_name.get(FEW), by_name.get(ALL)
    if few is None or whole is None:
        return None
    few_bytes, all_bytes = (
        figures.medians(lambda run: run.peak_bytes)["product"] for figures in (few, whole)
    )
    return few_bytes, all_bytes


def _mark(case: Case) -> str:
    has_rows = (
        case.has_rows
        if isinstance(case, PullCase)
        else not isinstance(case, DeviceCase) or case.task is not Task.IMPORT
    )
    return "" if has_rows else " r"


def _pair(figures: Figures, figure: Callable[[Run], float], form: str) -> str:
    return " / ".join(form.format(value) for value in figures.medians(figure).values())
