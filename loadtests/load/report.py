"""The figures of a run: as a table, as JSON, and as pictures over time."""

from __future__ import annotations

import csv
import dataclasses
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # no stubs in the lock

from loadtests.load.plan import Told
from loadtests.load.profile import Profile
from loadtests.load.verdict import Verdict
from loadtests.load.watch import Watch

HISTORY: Final = ("Timestamp", "Requests/s", "95%", "User Count")  # of Locust's file


def collect(
    profile: Profile, told: Sequence[Told], verdict: Verdict, watch: Watch, seconds: float
) -> dict[str, Any]:
    """Return all figures of a run."""
    syncs = sorted(took_s for each in told for took_s in each.syncs_s) or [0.0]
    pulled = sum(each.pulled for each in told)
    healed = [took_s for each in told for took_s in each.healed_s]
    return {
        "profile": profile.name,
        "machine": {
            "cores": psutil.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "python": platform.python_version(),
        },
        "devices": len(told),
        "workers": profile.workers,
        "seconds": round(seconds, 1),
        "rows_pushed": verdict.acked,
        "rows_pulled": pulled,
        "pushed_per_s": round(verdict.acked / seconds),
        "pulled_per_s": round(pulled / seconds),
        "sync_p50_s": round(_quantile(syncs, 0.5), 2),
        "sync_p95_s": round(_quantile(syncs, 0.95), 2),
        "sync_p99_s": round(_quantile(syncs, 0.99), 2),
        "replays": sum(each.replays for each in told),
        "sent_again": len(healed),
        "healed_s_max": round(max(healed, default=0.0), 2),
        "server_cpu_s": round(watch.cpu_s, 1),
        "server_mib_max": round(max(each.server_mib for each in watch.samples)),
        "worker_mib_max": round(max(each.largest_mib for each in watch.samples)),
        "verdict": dataclasses.asdict(verdict),
        "faults": verdict.faults,
        "ok": not verdict.faults,
    }


def render(figures: dict[str, Any]) -> str:
    """Return the figures for people."""
    verdict = figures["verdict"]
    lines = [
        ("devices / workers", f"{figures['devices']} / {figures['workers']}"),
        ("rows pushed / pulled", f"{figures['rows_pushed']:,} / {figures['rows_pulled']:,}"),
        ("rows a second", f"{figures['pushed_per_s']:,} / {figures['pulled_per_s']:,}"),
        (
            "a device's whole sync, p50 / p95 / p99",
            f"{figures['sync_p50_s']} / {figures['sync_p95_s']} / {figures['sync_p99_s']} s",
        ),
        ("answers by status", ", ".join(f"{k}: {v:,}" for k, v in verdict["statuses"].items())),
        (
            "sent again (429, 503, no answer), then answered",
            f"{figures['sent_again']:,}, the last after {figures['healed_s_max']} s",
        ),
        ("answers given again for a key", f"{figures['replays']:,}"),
        ("server: CPU", f"{figures['server_cpu_s']} s of {figures['seconds']} s"),
        (
            "server: memory of all / the largest process",
            f"{figures['server_mib_max']} / {figures['worker_mib_max']} MiB",
        ),
        ("rows lost / doubled", f"{verdict['lost']} / {verdict['doubled']}"),
    ]
    width = max(len(name) for name, _ in lines)
    table = "\n".join(f"  {name:<{width}}  {value}" for name, value in lines)
    end = "all rows arrived once" if figures["ok"] else f"NOT GOOD: {figures['faults']}"
    return f"{figures['profile']}\n{table}\n{end}"


def draw(history: Path, watch: Watch, path: Path, title: str) -> None:
    """Draw requests a second, their latency, and the server's memory, over time, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    times, rates, p95s = _read_history(history)
    figure, (above, middle, below) = pyplot.subplots(3, 1, sharex=True, figsize=(9, 8))
    above.plot(times, rates)
    above.set_ylabel("requests a second")
    middle.plot(times, p95s)
    middle.set_ylabel("95 % within, ms")
    below.plot([s.at_s for s in watch.samples], [s.server_mib for s in watch.samples])
    below.set_ylabel("server's memory, MiB")
    below.set_xlabel("seconds")
    above.set_title(title)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _read_history(path: Path) -> tuple[list[float], list[float], list[float]]:
    times: list[float] = []
    rates: list[float] = []
    p95s: list[float] = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["Name"] != "Aggregated":
                continue
            times.append(float(row["Timestamp"]))
            rates.append(float(row["Requests/s"]))
            p95s.append(float(row["95%"]) if row["95%"] not in {"", "N/A"} else 0.0)
    return [at - times[0] for at in times], rates, p95s


def _quantile(values: Sequence[float], share: float) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
