"""Who may write what: one table, read by every collection's `judge`. Pure.

    judge_role(actor, "sites", before, after) -> why not, or None

Which rows exist for an actor at all is not said here but by scopes (see `access`).
"""

from __future__ import annotations

from typing import Final

from sync.types import Actor, Op, Outcome, Refusal, Wire

CREATE, UPDATE, DELETE = Op.CREATE, Op.UPDATE, Op.DELETE
ALL: Final = frozenset({CREATE, UPDATE, DELETE})
WRITE: Final = frozenset({CREATE, UPDATE})
ADD: Final = frozenset({CREATE})
EDIT: Final = frozenset({UPDATE})
NONE: Final[frozenset[Op]] = frozenset()

# A role that is not in a line, such as the auditor, may nothing.
ROLES: Final[dict[str, dict[str, frozenset[Op]]]] = {
    "territories": {"dispatcher": ALL, "admin": ALL},
    "sites": {"technician": EDIT, "supervisor": ALL, "dispatcher": ALL, "admin": ALL},
    "assets": {"technician": WRITE, "supervisor": ALL, "dispatcher": ALL, "admin": ALL},
    "work_orders": {"technician": WRITE, "supervisor": ALL, "dispatcher": ALL, "admin": ALL},
    "inspections": {"technician": WRITE, "supervisor": ALL, "dispatcher": ALL, "admin": ALL},
    "notes": {"technician": ADD, "supervisor": ADD, "dispatcher": ADD, "admin": ADD},
    "parts_used": {"technician": ADD, "supervisor": ADD, "dispatcher": ADD, "admin": ADD},
}
APPEND_ONLY: Final = frozenset({"notes", "parts_used"})

# (collection, role) -> the only fields that it may edit; a pair that is not here may edit all.
EDITABLE: Final = {("sites", "technician"): frozenset({"access_notes"})}

APPROVERS: Final = frozenset({"supervisor", "dispatcher", "admin"})
REVIEWERS: Final = frozenset({"supervisor", "dispatcher", "admin"})  # of what was refused and kept
TENANT_WIDE: Final = frozenset({"dispatcher", "admin", "auditor"})  # hold all territories


def judge_role(
    actor: Actor, collection: str, before: Wire | None, after: Wire | None
) -> Refusal | None:
    """Return why the actor's role does not let them turn `before` into `after`, or None."""
    op = CREATE if before is None else DELETE if after is None else UPDATE
    if collection in APPEND_ONLY and op is not CREATE:
        return forbidden("append_only", f"{collection} are only ever added to.")
    if op not in ROLES[collection].get(actor.role, NONE):
        return forbidden("role_forbids", f"A {actor.role} may not {op} {collection}.")
    if before is None or after is None:
        return None
    return _judge_fields(collection, actor.role, before, after)


def forbidden(code: str, detail: str, **args: object) -> Refusal:
    """Return a refusal that says: not this user."""
    return Refusal(outcome=Outcome.FORBIDDEN, code=code, detail=detail, args=args)


def _judge_fields(collection: str, role: str, before: Wire, after: Wire) -> Refusal | None:
    editable = EDITABLE.get((collection, role))
    if editable is None:
        return None
    changed = {name for name, value in after.items() if before.get(name) != value}
    beyond = sorted(changed - editable)
    if not beyond:
        return None
    detail = f"A {role} may not edit {', '.join(beyond)}."
    return forbidden("fields_forbidden", detail, fields=beyond)
