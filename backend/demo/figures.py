"""What a run came to: one set of figures, for people as a table and for machines as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from backend.demo.device import Device
from backend.demo.watched import Watched

PERCENTILES = 20  # quantiles of 5 %; the last one is p95


def collect(
    devices: Sequence[Device], watched: Watched, faults: Mapping[str, int], seconds: float
) -> dict[str, Any]:
    """Return the figures of the time between reconnecting and the last empty outbox."""
    outcomes: Counter[str] = sum((d.ledger.outcomes for d in devices), Counter())
    ledgers = [device.ledger for device in devices]
    durations = [s for ledger in ledgers for s in ledger.sync_s]
    pushed, pulled = outcomes.total(), sum(ledger.pulled for ledger in ledgers)
    return {
        "devices": len(devices),
        "mutations_made": sum(ledger.made for ledger in ledgers),
        "rows_pushed": pushed,
        "rows_pulled": pulled,
        "rows_per_s": round((pushed + pulled) / seconds),
        "batches_sent": sum(ledger.batches_sent for ledger in ledgers),
        "batches_applied": sum(ledger.batches_applied for ledger in ledgers),
        "retries": sum(ledger.retries for ledger in ledgers),
        "replays": sum(ledger.replays for ledger in ledgers),
        "outcomes": dict(sorted(outcomes.items())),
        "metrics": {"rows": dict(sorted(watched.rows.items())), "replays": watched.replays},
        "issues_open": sum(device.client.status().issues for device in devices),
        "faults": dict(sorted(faults.items())),
        "sync_p50_s": round(statistics.median(durations), 3),
        "sync_p95_s": round(statistics.quantiles(durations, n=PERCENTILES)[-1], 3),
        "seconds": round(seconds, 1),
    }


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the figures as a table."""
    table = Table(title="Reconnected over a bad link", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    outcomes, faults = figures["outcomes"], figures["faults"]
    lines: list[tuple[str, Any]] = [
        ("devices", figures["devices"]),
        ("mutations made offline", figures["mutations_made"]),
        ("rows pushed / pulled", f"{figures['rows_pushed']:,} / {figures['rows_pulled']:,}"),
        ("rows/s, both ways", f"{figures['rows_per_s']:,}"),
        ("batches sent / applied", f"{figures['batches_sent']} / {figures['batches_applied']}"),
        ("requests repeated", figures["retries"]),
        ("answers replayed", figures["replays"]),
        ("rows that /metrics counts", f"{sum(figures['metrics']['rows'].values()):,}"),
        *((f"link: {name.replace('_', ' ')}", count) for name, count in faults.items()),
        *((f"outcome: {name}", count) for name, count in outcomes.items()),
        ("issues left for a person", figures["issues_open"]),
        ("a device's sync, p50 / p95", f"{figures['sync_p50_s']} s / {figures['sync_p95_s']} s"),
        ("duration", f"{figures['seconds']} s"),
    ]
    for name, value in lines:
        table.add_row(name, str(value))
    console.print(table)


def first(differences: Sequence[str], shown_max: int = 20) -> list[str]:
    """Return what to print of them."""
    rest = len(differences) - shown_max
    return [*differences[:shown_max], *([f"… and {rest} more"] if rest > 0 else [])]
