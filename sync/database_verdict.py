"""What the database's refusal of one row means for the mutation behind it.

Constraints say what must never happen; this says it in the words of the report.
"""

from __future__ import annotations

from typing import Any

from django.db import models

from sync.errors import NeedsCare
from sync.refusals import invalid
from sync.registry import Collection
from sync.tenancy import TENANT_COLUMN, TenantPrimaryKey, TenantReference
from sync.types import FieldError, Outcome, Refusal, Write

_DETAILS = {
    "unique": "Another row has this value.",
    "does_not_exist": "No such row.",
    "check": "The values contradict a rule of the database.",
    "required": "This field may not be null.",
    "max_length": "The value is too long.",
    "out_of_range": "The value is out of range.",
    "invalid": "The database cannot store this value.",
}
_CODES = {  # SQLSTATE -> code
    "23505": "unique",
    "23503": "does_not_exist",
    "23514": "check",
    "23502": "required",
    "22001": "max_length",
    "22003": "out_of_range",
}


def explain(error: Exception, collection: Collection, write: Write) -> Refusal:
    """Return the refusal that `error` means for the one row that `write` is about.

    Raises:
        NeedsCare: another transaction has created the same row meanwhile.
    """
    diagnosis: Any = getattr(error.__cause__, "diag", None)
    state = getattr(error.__cause__, "sqlstate", None) or ""
    name = getattr(diagnosis, "constraint_name", None) or ""
    constraint = _constraint(collection, name)
    if isinstance(constraint, TenantPrimaryKey):
        raise NeedsCare
    if write.after is None:
        return Refusal(
            outcome=Outcome.CONFLICT,
            code="still_referenced",
            detail="Other rows refer to this one; delete them first.",
            args={"fields": []},
        )
    code = _CODES.get(state, "invalid")
    path = _path(constraint) or getattr(diagnosis, "column_name", None) or ""
    args = {"constraint": name} if name else {}
    return invalid([FieldError(path=path, code=code, detail=_DETAILS[code], args=args)])


def _constraint(collection: Collection, name: str) -> models.BaseConstraint | None:
    found = collection.model._meta.constraints
    return next((c for c in found if c.name == name), None)


def _path(constraint: models.BaseConstraint | None) -> str:
    if isinstance(constraint, TenantReference):
        return constraint.field
    if isinstance(constraint, models.UniqueConstraint):
        return next((name for name in constraint.fields if name != TENANT_COLUMN), "")
    return ""
