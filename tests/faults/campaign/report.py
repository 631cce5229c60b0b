"""What the campaign tells: its figures as a table, and what can happen."""

from __future__ import annotations

from typing import Any, Final

from tests.faults.campaign.disasters import DISASTERS

SHOWN_MAX: Final = 20
LISTS: Final = frozenset({"violations", "bugs", "ok"})


def render_disasters() -> str:
    """Return the names of the disasters, and what each is."""
    lines = [
        f"{name:<26} {(work.__doc__ or '').splitlines()[0]}" for name, work in DISASTERS.items()
    ]
    return "\n".join(lines) + "\n"


def render(figures: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [
        f"  {name:<28} {_shown(value)}" for name, value in figures.items() if name not in LISTS
    ]
    lines += [
        f"  {each['bug']:<62} {each['place']:<7} "
        + (f"{each['histories']:>4}  {each['law']}" if each["law"] else "NOT FOUND")
        for each in figures.get("bugs", [])
    ]
    found = figures.get("violations", [])
    lines += found[:SHOWN_MAX]
    if len(found) > SHOWN_MAX:
        lines.append(f"… and {len(found) - SHOWN_MAX} more")
    if "bugs" in figures:
        missed = sum(not each["law"] for each in figures["bugs"])
        lines.append(f"{len(figures['bugs']) - missed} of {len(figures['bugs'])} bugs found")
    else:
        lines.append(f"{len(found)} violations" if not found else f"{len(found)} VIOLATIONS")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:,}" for name, number in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
