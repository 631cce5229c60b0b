"""What the database's refusal of one row means for the mutation behind it.

Constraints say what must never happen; this says it in the words of the report.
"""

from __future__ import annotations

from typing import Any

from django.db import DataError, IntegrityError, ProgrammingError, models

from sync.errors import NeedsCare
from sync.refusals import dependency_failed, does_not_exist, invalid
from sync.registry import Collection
from sync.tenancy import TENANT_COLUMN, TenantPrimaryKey, TenantReference
from sync.types import FieldError, Outcome, Refusal, RowKey, Wire, Write

_DETAILS = {
    "unique": "Another row has this value.",
    "does_not_exist": "No such row.",  # of a nested row
    "check": "The values contradict a rule of the database.",
    "required": "This field may not be null.",
    "max_length": "The value is too long.",
    "out_of_range": "The value is out of range.",
    "invalid": "The database cannot store this value.",
}
_FOREIGN_KEY, _RAISED = "23503", "P0001"
_CODES = {  # SQLSTATE -> code
    "23505": "unique",
    _FOREIGN_KEY: "does_not_exist",
    "23514": "check",
    "23502": "required",
    "22001": "max_length",
    "22003": "out_of_range",
    _RAISED: "check",
}

# What a write may be refused with; a ProgrammingError is one only when `is_refusal` says so.
REFUSALS = (DataError, IntegrityError, ProgrammingError)


def is_refusal(error: Exception) -> bool:
    """Whether one of `REFUSALS` is about the rows: a trigger's own exception, but no bad SQL."""
    return not isinstance(error, ProgrammingError) or _state(error) == _RAISED


def explain(error: Exception, collection: Collection, write: Write) -> Refusal:
    """Return the refusal that `error` means for the one row that `write` is about.

    Raises:
        NeedsCare: another transaction has created the same row meanwhile.
    """
    diagnosis: Any = getattr(error.__cause__, "diag", None)
    state = _state(error)
    name = getattr(diagnosis, "constraint_name", None) or ""
    constraint = _constraint(collection, name)
    if isinstance(constraint, TenantPrimaryKey):
        raise NeedsCare
    if write.after is None and state == _FOREIGN_KEY:
        return Refusal(
            outcome=Outcome.CONFLICT,
            code="still_referenced",
            detail="Other rows refer to this one; delete them first.",
            args={"fields": []},
        )
    if write.after is not None and isinstance(constraint, TenantReference):
        return _vanished(collection, _wire_name(collection, constraint.field), write.after.data)
    code = _CODES.get(state, "invalid")
    path = _path(collection, constraint) or getattr(diagnosis, "column_name", None) or ""
    args = {"constraint": name} if name else {}
    return invalid([FieldError(path=path, code=code, detail=_DETAILS[code], args=args)])


def misses_a_row(error: Exception) -> bool:
    """Whether the database refused because a row that is referred to is not there."""
    return _state(error) == _FOREIGN_KEY


def _state(error: Exception) -> str:
    return getattr(error.__cause__, "sqlstate", None) or ""


def _constraint(collection: Collection, name: str) -> models.BaseConstraint | None:
    found = collection.model._meta.constraints
    return next((c for c in found if c.name == name), None)


def _vanished(collection: Collection, field: str, row: Wire) -> Refusal:
    """Return what the plan would have said, had the row that `field` names been gone before."""
    if field == collection.parent and collection.parent_collection is not None:
        return dependency_failed(field, RowKey(collection.parent_collection, row[field]), None)
    return invalid([does_not_exist(field)])


def _path(collection: Collection, constraint: models.BaseConstraint | None) -> str:
    if isinstance(constraint, models.UniqueConstraint):
        names = (name for name in constraint.fields if name != TENANT_COLUMN)
        return next((_wire_name(collection, name) for name in names), "")
    return ""


def _wire_name(collection: Collection, field: str) -> str:
    """Return what devices call the model's `field`."""
    concrete = collection.model._meta.concrete_fields
    attname = next((f.attname for f in concrete if f.name == field), field)
    return next((spec.name for spec in collection.fields if spec.attname == attname), field)
