"""Issue: a refused mutation, and what a person can do about it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from fieldsync.errors import ErrorClass
from fieldsync.wire import NEEDS_A_PERSON, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fieldsync.engine import Engine
    from fieldsync.engine.issues import Keep
    from fieldsync.store import IssueRecord


class Issue:
    """A refused mutation, with everything the server said about it.

    `mine` are the values that were to be written, `theirs` the row on the server as far as known.
    """

    def __init__(self, engine: Engine, record: IssueRecord) -> None:
        self._issues = engine.issues
        self.id: int = record.id
        self.collection: str = record.collection
        self.row_id: str = record.row_id
        self.op: str = record.op
        self.outcome: str = record.outcome
        self.code: str | None = record.code
        self.detail: str = record.detail
        self.fields: list[str] = record.fields
        self.base_version: int | None = record.base_version
        self.version: int | None = record.version
        self.mine: dict[str, Any] = record.mine
        self.base: dict[str, Any] | None = record.base
        self.theirs: dict[str, Any] | None = record.theirs
        self.errors: list[dict[str, Any]] = record.errors
        self.blocked_by: dict[str, Any] | None = record.blocked_by
        self.created_at: datetime = datetime.fromisoformat(record.created_at)

    @property
    def is_parked(self) -> bool:
        """Whether the server keeps the mutation for a supervisor to decide."""
        return self.outcome == Outcome.QUARANTINED

    @property
    def error_class(self) -> ErrorClass:
        """Whether a person can settle it by choosing, or only by changing the row."""
        is_choice = self.outcome in NEEDS_A_PERSON
        return ErrorClass.NEEDS_USER if is_choice else ErrorClass.ROW_PERMANENT

    def resolve(self, keep: Keep | Mapping[str, Any]) -> str | None:
        """Settle it: `"mine"`, `"theirs"`, or mine with these values. Sent by the next sync.

        Returns the id of the row that was queued; a new one when a row has to be created anew.
        Raises: IssueClosed; UnsendableValue; Unresolvable when the row is gone.
        """
        return self._issues.resolve(self.id, keep)

    def retry(self) -> None:
        """Send it again as it was, after its cause was removed. Raises: IssueClosed."""
        self._issues.retry(self.id)

    def discard(self) -> None:
        """Give the mutation up for good. Raises: IssueClosed."""
        self._issues.discard(self.id)

    def __repr__(self) -> str:
        return f"<Issue {self.id}: {self.op} {self.collection} {self.row_id}: {self.detail}>"
