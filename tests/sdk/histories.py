"""Histories: random steps of a `World`, and one life of it from its first phone to its peace.

    phones     edits, groups, faults, kills, late requests, scopes, limits, clocks, other users
    restores   the same, and the server goes back to a backup
    copies     the same, and phones go back to a backup, or are cloned

A step is the name of a method of `World` and its arguments. Phones and rows are drawn as numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import invariants
from hypothesis import strategies as st
from office import COLLECTIONS, ROWS
from watched import Late
from world import FIELDS, PHONES, World

from fieldsync.testing import Cut, Fault

Step = tuple[Any, ...]
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # thousands of commits a history need no disk
MEMORY = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
FIRST_STEPS = 8  # fewer are no history
LAST_STEPS = 32


def live(steps: Sequence[Step]) -> None:
    """One history, from three new phones to the peace at its end, and all invariants."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        world = World(Path(folder))
        try:
            for step in steps:
                world.do(step)
            world.heal()
            invariants.check(world)
        finally:
            world.close()


def _of(shares: dict[str, int], **steps: st.SearchStrategy[Step]) -> st.SearchStrategy[list[Step]]:
    """Histories of these steps in these proportions."""
    names = [name for name, share in shares.items() for _ in range(share)]
    step = st.sampled_from(names).flatmap(lambda name: steps[name])
    return st.lists(step, min_size=FIRST_STEPS, max_size=LAST_STEPS)


def _step(name: str, *given: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), *given)


_phones = st.integers(0, PHONES)  # one more than there are at first: a clone
_rows = st.integers(0, ROWS - 1)
_collections = st.sampled_from(COLLECTIONS)
_ops = st.sampled_from(["update", "update", "update", "delete"])
_fields = st.sampled_from(FIELDS)
_fault = st.one_of(
    st.sampled_from([Fault.CUT_BEFORE, Fault.LOST_ANSWER, Fault.HTML, Fault.HTML, *Fault]),
    st.builds(Cut, st.integers(0, 900)),
    st.just(Late()),
)
_faults = st.one_of(
    st.lists(st.none() | _fault, max_size=9),
    # A link that is dead from some request on: more tries than a sync has.
    st.tuples(st.sampled_from([0, 0, 1, 3]), _fault).map(
        lambda drawn: [None] * drawn[0] + [drawn[1]] * 7
    ),
)
_visits = st.lists(
    st.tuples(_ops, _rows, _collections),
    min_size=2,
    max_size=4,
)

_meanwhile = st.none() | st.tuples(
    st.sampled_from(["sync/push", "sync/pull"]), _ops, _rows, _fields, _collections
)
_office = st.sampled_from(["edit", "take over", "take over", "delete", "hide", "show"])
_edits = st.tuples(_ops, _rows, _fields, _collections)


def _errand(name: str, *given: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return _step("errand", _phones, _edits, _step(name, *given))


_clashes = st.tuples(
    st.sampled_from(["", "a", "b", "b"]),  # beside what the office takes over, or the same
    st.sampled_from(["take over"] * 4 + ["edit", "delete", "hide", "hide"]),
    st.sampled_from(["sync/push", "sync/pull"]),
    st.tuples(st.sampled_from(["update", "update", "delete"]), st.sampled_from(["a", "a", "b"])),
)

_STEPS = {
    "edit": _step("edit", _ops, _phones, _rows, _fields, _collections),
    "visit": _step(
        "visit", _phones, _visits, st.sampled_from(["", "bad", "edit", "hide", "delete"])
    ),
    "clash": _step("clash", _phones, _rows, _collections, _clashes),
    "agree": _step("agree", _phones, _rows, _collections),
    "refusal": _step("refusal", _phones, _visits),
    "settle": _step(
        "settle",
        _phones,
        _rows,
        st.sampled_from(["mine", "mine", "theirs", "values", "retry", "discard"]),
    ),
    "clock": _step("clock", _phones, st.sampled_from([0, 1, -1, -9_000, 20_000])),
    "calm": _step("sync", _phones, st.just([]), _meanwhile),
    "sync": _errand("sync", _faults, _meanwhile),
    "half": _errand("drop", st.just([]), st.just(1), st.just(value=False)),
    "drop": _errand("drop", _faults, st.integers(0, 8), st.booleans()),
    "kill": _step("kill", _phones, st.integers(1, 1_500), _faults),
    "locked": _errand("locked"),
    "login": _errand("login", st.sampled_from(["tess", "tom"])),
    "save": _step("save", _phones),
    "put_back": _step("put_back", _phones),
    "clone": _step("clone", _phones),
    "limits": _step(
        "limits",
        st.sampled_from([1, 2, 1_000]),
        st.sampled_from([400, 10**9, 10**9]),
        st.booleans(),
    ),
    "arrive": _step("arrive"),
    "make_backup": _step("make_backup"),
    "restore": _step("restore"),
    "prune": _step("prune"),
    "gone": _step("gone", st.sampled_from(["scopes_changed", "cursor_expired"])),
    "office": _step(
        "office",
        _office,
        _rows,
        _collections,
    ),
}
_USUAL = {
    "edit": 6,
    "visit": 3,
    "clash": 6,
    "agree": 2,
    "refusal": 1,
    "settle": 2,
    "login": 2,
    "clock": 1,
    "sync": 8,
    "calm": 4,
    "half": 1,
    "drop": 3,
    "kill": 3,
    "limits": 1,
    "arrive": 2,
    "locked": 1,
    "prune": 1,
    "gone": 1,
    "office": 2,
}

_LAWS = {
    "phones": _USUAL,
    "restores": {**_USUAL, "half": 5, "make_backup": 2, "restore": 4},
    "copies": {**_USUAL, "save": 2, "put_back": 5, "clone": 2},
}


def mix(law: str, **shares: int) -> st.SearchStrategy[list[Step]]:
    """Histories of that law, in which some steps have other shares than usual."""
    return _of({**_LAWS[law], **shares}, **_STEPS)


phones, restores, copies = mix("phones"), mix("restores"), mix("copies")
