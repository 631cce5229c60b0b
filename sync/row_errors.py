"""Errors of editing one row by itself, through the plain API: leaves of the tree in `errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sync.errors import SyncError

if TYPE_CHECKING:
    from sync.types import Result


class RowRefused(SyncError):
    """One row was refused: the code and the text are those of the refusal."""

    code = "row_refused"  # of the family
    status = 409
    title = "The row was refused"

    def __init__(self, result: Result, status: int) -> None:
        refusal = result.refusal
        super().__init__(refusal.detail if refusal else "")
        self.result = result
        self.code = refusal.code if refusal else self.code  # type: ignore[misc]  # of this one
        self.status = status  # type: ignore[misc]  # of this one

    @property
    def members(self) -> dict[str, Any]:
        """What the refusal says beside its text; of a conflict, the row as it is."""
        result, refusal = self.result, self.result.refusal
        found = {"outcome": result.outcome, **(refusal.args if refusal else {})}
        if refusal is not None and refusal.errors:
            found["errors"] = [msgspec.structs.asdict(each) for each in refusal.errors]
        if result.current is not None:
            found |= {"version": result.version, "current": result.current}
        return found


class PreconditionFailed(SyncError):
    """The row is not of the version that `If-Match` names; `version` is the one it is of."""

    code = "precondition_failed"
    status = 412
    title = "The row was edited since"

    def __init__(self, version: int | None) -> None:
        super().__init__("Read the row again, and edit what it is now.")
        self.version = version

    @property
    def members(self) -> dict[str, Any]:
        """The version that the row is of, if that is known."""
        return {"version": self.version}


class PreconditionRequired(SyncError):
    """An edit came without the version that it was made on."""

    code = "precondition_required"
    status = 428
    title = "If-Match is required"

    def __init__(self) -> None:
        super().__init__("Send If-Match with the ETag that the row was read with.")
