"""The page of concepts against the code that it describes."""

from __future__ import annotations

import re
from pathlib import Path

import fieldsync
from fieldsync.machine import TABLE, Event, State
from fieldsync.wire import APPLIED, Outcome

PAGE = (Path(__file__).parents[2] / "clients/python_sdk/docs/concepts.md").read_text()
MACHINE = re.compile(r"<!-- from fieldsync\.machine\.TABLE -->\n(.*?)<!-- end -->", re.DOTALL)


def render_table() -> str:
    """Return the table of the machine as the page has it: what stays is left blank."""
    states = [state for state in State if state is not State.STOPPED]
    lines = [
        ["", *(f"`{state}`" for state in states)],
        ["---"] * (len(states) + 1),
        *(
            [
                f"**{event.name.lower()}**",
                *(_render_cell(state, TABLE[state][event]) for state in states),
            ]
            for event in Event
        ),
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _render_cell(state: State, following: State) -> str:
    return "" if following is state else str(following)


def test_table_of_the_machine_is_the_machine() -> None:
    """Run this file's `render_table` for the new one."""
    found = MACHINE.search(PAGE)

    assert found
    assert found[1] == render_table()


def test_every_state_is_explained() -> None:
    section = PAGE.partition("| state | |")[2].partition("\n\n")[0]

    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [str(state) for state in State]


def test_every_refusal_is_explained() -> None:
    """In the order of the protocol."""
    section = PAGE.partition("| `outcome` |")[2].partition("\n\n")[0]

    refusals = [str(outcome) for outcome in Outcome if outcome not in APPLIED]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == refusals


def test_every_count_of_unfinished_work_is_explained() -> None:
    counts = {"pending", "sent", "acked_unseen", "issues"}

    assert counts <= set(fieldsync.Status.__struct_fields__)
    assert counts <= set(re.findall(r"`(\w+)`", PAGE))
