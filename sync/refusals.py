"""The refusals that the engine itself hands out, each with its stable code.

A project's own refusals come from `Collection.judge`. `docs/errors.md` lists the codes.
"""

from __future__ import annotations

from collections.abc import Iterable

from sync.types import FieldError, Mutation, Outcome, Refusal, Result, RowKey, RowState, Wire

GONE = Refusal(outcome=Outcome.GONE, code="row_deleted", detail="The row was deleted.")
NOT_FOUND = Refusal(outcome=Outcome.NOT_FOUND, code="row_not_found", detail="No such row.")
ID_TAKEN = Refusal(
    outcome=Outcome.CONFLICT, code="id_taken", detail="Another row has this id; make a new one."
)
BASE_REQUIRED = Refusal(
    outcome=Outcome.INVALID,
    code="validation_failed",
    detail="An update or delete needs the version that it was made on.",
    errors=(FieldError(path="base_version", code="required", detail="Send base_version."),),
)
COLLECTION_FORBIDDEN = Refusal(
    outcome=Outcome.FORBIDDEN,
    code="collection_forbidden",
    detail="Whoever sent this may not write this collection.",
)
_CONFLICT_DETAILS = {
    "id_taken": "A row with this id exists and differs.",
    "version_mismatch": "The row was edited after the version that this edit is based on.",
    "edited_since": "The row was edited after the version that this delete is based on.",
    "base_version_ahead": "The base version is newer than the server's: was it restored?",
}


def invalid(errors: Iterable[FieldError]) -> Refusal:
    """Return the refusal of a mutation with these field errors."""
    return Refusal(
        outcome=Outcome.INVALID,
        code="validation_failed",
        detail="Some fields are not valid.",
        errors=tuple(errors),
    )


def does_not_exist(field: str) -> FieldError:
    """Return the error of a reference to a row that does not exist for the actor."""
    return FieldError(path=field, code="does_not_exist", detail="No such row.")


def dependency_failed(field: str, key: RowKey, index: int | None) -> Refusal:
    """Return the refusal of a row whose `field` names `key`, which is not there.

    `index` is the mutation of this push that was to create it, None when there is none.
    """
    why = "was refused" if index is not None else "does not exist"
    return Refusal(
        outcome=Outcome.DEPENDENCY_FAILED,
        code="parent_refused" if index is not None else "parent_missing",
        detail=f"The row that {field} names {why}.",
        args={"blocked_by": _blocked_by(key, index)},
    )


def create_refused(key: RowKey, index: int) -> Refusal:
    """Return the refusal of what is done to a row whose create was refused at `index`."""
    return Refusal(
        outcome=Outcome.DEPENDENCY_FAILED,
        code="create_refused",
        detail="The mutation that creates this row was refused.",
        args={"blocked_by": _blocked_by(key, index)},
    )


def group_refused(key: RowKey, index: int) -> Refusal:
    """Return the refusal of an innocent member of a group that fell with row `key`."""
    return Refusal(
        outcome=Outcome.NOT_APPLIED,
        code="group_refused",
        detail="Nothing is wrong with it, but its group fell.",
        args={"blocked_by": _blocked_by(key, index)},
    )


def _blocked_by(key: RowKey, index: int | None) -> Wire:
    """Return what a result is blocked by; `index` is None when that is not in the push."""
    return {"collection": key.collection, "id": key.id, "index": index}


def refuse(mutation: Mutation, refusal: Refusal, row: RowState | None = None) -> Result:
    """Return the refused result; a conflict shows the row as it is now."""
    is_conflict = refusal.outcome is Outcome.CONFLICT and row is not None
    return Result(
        mutation=mutation,
        outcome=refusal.outcome,
        version=row.version if is_conflict and row else None,
        current=row.data if is_conflict and row else None,
        refusal=refusal,
    )


def conflict(mutation: Mutation, row: RowState, code: str, fields: frozenset[str]) -> Result:
    """Return a conflict over `fields`, with the row as it is now."""
    refusal = Refusal(
        outcome=Outcome.CONFLICT,
        code=code,
        detail=_CONFLICT_DETAILS[code],
        args={"fields": sorted(fields)},
    )
    return refuse(mutation, refusal, row)
