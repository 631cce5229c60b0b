"""Who may do what: the whole table, line by line."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from backend.accounts.models import Role
from sync.registry import ranked_collections
from sync.types import Actor, Outcome, Wire

C, U, D = "create", "update", "delete"
MAY: dict[str, tuple[set[str], ...]] = {  # what each role may do, of create, update, delete
    #               technician  supervisor  dispatcher  admin      auditor
    "territories": (set(),      set(),      {C, U, D},  {C, U, D}, set()),
    "sites":       ({U},        {C, U, D},  {C, U, D},  {C, U, D}, set()),
    "assets":      ({C, U},     {C, U, D},  {C, U, D},  {C, U, D}, set()),
    "work_orders": ({C, U},     {C, U, D},  {C, U, D},  {C, U, D}, set()),
    "inspections": ({C, U},     {C, U, D},  {C, U, D},  {C, U, D}, set()),
    "notes":       ({C},        {C},        {C},        {C},       set()),
    "parts_used":  ({C},        {C},        {C},        {C},       set()),
}  # fmt: skip
ROLES = ("technician", "supervisor", "dispatcher", "admin", "auditor")
HELD = str(uuid4())

# field -> (before, after) of a harmless edit; the other fields that rules look at stay as they are
EDITS: dict[str, Wire] = {
    "territories": {"parent": None, "name": "A"},
    "sites": {"territory": HELD, "access_notes": "A"},
    "assets": {"tag": "A"},
    "work_orders": {"status": "open", "title": "A"},
    "inspections": {"status": "draft", "template_code": "A"},
    "notes": {"text": "A"},
    "parts_used": {"sku": "A"},
}
CASES = [
    (name, role, op, op in MAY[name][place])
    for name in MAY
    for place, role in enumerate(ROLES)
    for op in (C, U, D)
]


def test_table_is_complete() -> None:
    """A new role or collection must be given its place here."""
    assert set(MAY) == set(ranked_collections())
    assert set(ROLES) == set(Role.values)


@pytest.mark.parametrize(("name", "role", "op", "is_allowed"), CASES)
def test_role_may(name: str, role: str, op: str, is_allowed: bool) -> None:
    row = EDITS[name]
    last = next(reversed(row))
    before = None if op == C else row
    after = None if op == D else row | {last: "B"}

    refusal = judge(name, role, before, after)

    assert (refusal is None) == is_allowed
    if refusal is not None:
        is_append_only = name in {"notes", "parts_used"} and op != C
        assert refusal.outcome is Outcome.FORBIDDEN
        assert refusal.code == ("append_only" if is_append_only else "role_forbids")


@pytest.mark.parametrize(
    ("role", "field", "code"),
    [
        ("technician", "access_notes", None),
        ("technician", "name",         "fields_forbidden"),
        ("technician", "territory",    "fields_forbidden"),
        ("supervisor", "name",         None),
        ("supervisor", "territory",    "territory_not_held"),
        ("dispatcher", "territory",    None),
        ("admin",      "territory",    None),
    ],
)  # fmt: skip
def test_site_field_may_be_edited(role: str, field: str, code: str | None) -> None:
    before = {"name": "A", "territory": HELD, "access_notes": ""}

    refusal = judge("sites", role, before, before | {field: "B"})

    assert (refusal.code if refusal else None) == code


@pytest.mark.parametrize(
    ("role", "territory", "code"),
    [
        ("supervisor", HELD,    None),
        ("supervisor", "other", "territory_not_held"),
        ("dispatcher", "other", None),  # it may come in the same push as the site
    ],
    ids=["own", "another's", "anywhere"],
)  # fmt: skip
def test_site_may_be_made_in(role: str, territory: str, code: str | None) -> None:
    """Everybody sees all territories, so seeing one must not be enough."""
    refusal = judge("sites", role, None, {"territory": territory})

    assert (refusal.code if refusal else None) == code


@pytest.mark.parametrize(
    ("role", "before", "code"),
    [
        ("technician", "done",     "approval_forbidden"),
        ("technician", None,       "approval_forbidden"),
        ("technician", "approved", None),  # another field of an approved row
        ("supervisor", "done",     None),
        ("dispatcher", "done",     None),
        ("admin",      "done",     None),
    ],
)  # fmt: skip
def test_work_order_may_be_approved(role: str, before: str | None, code: str | None) -> None:
    row = {"status": before} if before else None

    refusal = judge("work_orders", role, row, {"status": "approved"})

    assert (refusal.code if refusal else None) == code


def test_territory_cannot_be_moved_by_a_push() -> None:
    """The paths of all territories below it would have to change with it."""
    refusal = judge("territories", "dispatcher", {"parent": None}, {"parent": HELD})

    assert refusal is not None
    assert refusal.code == "parent_fixed"


def judge(name: str, role: str, before: Wire | None, after: Wire | None) -> Any:
    actor = Actor(tenant_id=uuid4(), role=role, scopes=frozenset({f"territory:{HELD}"}))
    return ranked_collections()[name].judge(actor, before, after)
