"""Issues: what a person can do about a refused mutation.

resolve mine    -> queued again on the server's current version
resolve values  -> the same, with those fields set by hand
resolve theirs  -> dropped, the server's row stands
retry           -> queued again as it was           discard -> dropped
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from fieldsync.engine.local import normal_fields
from fieldsync.errors import IssueClosed, Unresolvable
from fieldsync.listeners import Cause
from fieldsync.merge import Edit
from fieldsync.wire import Op, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fieldsync.engine.local import Local
    from fieldsync.store import IssueRecord

Keep = Literal["mine", "theirs"]
EDITED_HERE_TOO = "edited_here_too"  # work brought in by a file disagrees with work here


class Issues:
    """The open issues of one store."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._store = local.store

    def list_open(self) -> list[IssueRecord]:
        """Open issues, oldest first, `theirs` filled in from the replica where it is missing."""
        with self._store.transaction():
            return [self._complete(issue) for issue in self._store.list_issues()]

    def _complete(self, issue: IssueRecord) -> IssueRecord:
        row = self._store.get_row(issue.collection, issue.row_id)
        if row is None or (issue.theirs is not None and row.version <= (issue.version or 0)):
            return issue
        return replace(issue, theirs=row.data)

    def resolve(self, issue_id: int, keep: Keep | Mapping[str, Any]) -> str | None:
        """Settle an issue; returns the id of the row that was queued, if one was.

        Raises: IssueClosed; UnsendableValue; Unresolvable when the row is gone and there is
        nothing to update.
        """
        with self._store.transaction(Cause.ISSUE):
            issue = self._take(issue_id)
            if keep == "theirs":
                return None
            values = {}
            if keep != "mine":
                values = normal_fields(issue.collection, issue.row_id, keep)
            elif issue.code == EDITED_HERE_TOO:
                values = issue.mine  # chosen against the very edit that waits here
            if values:
                self._prevent_delete(issue)
            mine = {**issue.mine, **values}
            version = self._current_version(issue)
            if issue.op == Op.CREATE and version is None:
                return self._create_again(issue, mine)
            if version is None:
                raise Unresolvable(issue.id, issue.outcome)
            is_delete = issue.op == Op.DELETE and not values
            edit = Edit(
                op=Op.DELETE if is_delete else Op.UPDATE,
                data={} if is_delete else mine,
                base_version=version,
                groups=frozenset(issue.groups),
            )
            self._enqueue(issue, edit)
            if values:  # decided now: they win over edits made meanwhile
                chosen = replace(edit, data=values)
                self._local.enqueue(issue.collection, issue.row_id, chosen, base=issue.base)
            return issue.row_id

    def _prevent_delete(self, issue: IssueRecord) -> None:
        """A row that is given values now is not to be deleted, whatever was meant before."""
        pending = self._local.outbox.get_pending(issue.collection, issue.row_id)
        if pending is not None and pending.edit.op is Op.DELETE:
            self._local.outbox.remove(pending)

    def retry(self, issue_id: int) -> None:
        """Queue the refused mutation again as it was. Raises: IssueClosed."""
        with self._store.transaction(Cause.ISSUE):
            issue = self._take(issue_id)
            edit = Edit(
                op=Op(issue.op),
                data=issue.mine,
                base_version=issue.base_version,
                groups=frozenset(issue.groups),
            )
            self._enqueue(issue, edit)

    def discard(self, issue_id: int) -> None:
        """Drop the refused mutation for good. Raises: IssueClosed."""
        with self._store.transaction(Cause.ISSUE):
            self._take(issue_id)

    def _take(self, issue_id: int) -> IssueRecord:
        issue = self._store.take_issue(issue_id)
        if issue is None:
            raise IssueClosed(issue_id)
        return issue

    def _current_version(self, issue: IssueRecord) -> int | None:
        """The row's version on the server as far as this device knows; None when it is gone."""
        row = self._store.get_row(issue.collection, issue.row_id)
        told = issue.version if issue.outcome == Outcome.CONFLICT else None
        known = [version for version in (told, row.version if row else None) if version]
        return max(known, default=None)

    def _create_again(self, issue: IssueRecord, data: Mapping[str, Any]) -> str:
        # The id belongs to a deleted row, or to one that this device may not see.
        is_used_up = issue.outcome in {Outcome.GONE, Outcome.CONFLICT}
        row_id = None if is_used_up else issue.row_id
        groups = frozenset(issue.groups)
        return self._local.create(issue.collection, data, row_id=row_id, groups=groups)

    def _enqueue(self, issue: IssueRecord, edit: Edit) -> None:
        self._local.enqueue_first(issue.collection, issue.row_id, edit, base=issue.base)
